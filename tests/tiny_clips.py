"""Tiny CLIPs of every family, as dicts in open_clip's schema.

``from tiny_clips import VIT``, ``HarmoCLIPBackbone(clip=VIT)``. Those of timm
are timm's own entry points with smaller numbers, under names of their own. All
read texts with CLIP's BPE unless :func:`with_tokenizer` names another.
"""

import copy
import math
from typing import Any, Dict

import torch
from timm.models import (
    convnext_base,
    eva02_base_patch16_clip_224,
    fastvit_mci0,
    register_model,
    vit_base_patch16_siglip_224,
    vit_pe_core_tiny_patch16_384,
)
from timm.models import vision_transformer_hybrid as hybrid
from torch import nn

WIDTH, DIMS, SIZE, PATCH = 48, 24, 32, 8
TRUNK = dict(img_size=SIZE, embed_dim=WIDTH, depth=3, num_heads=3)
PLAIN = dict(TRUNK, patch_size=PATCH)
GRID = (SIZE // PATCH, SIZE // PATCH)


@register_model
def tiny_siglip(pretrained=False, **kwargs):
    """No CLS, and an attention pool that ends in the joint space."""
    own = dict(PLAIN, embed_dim=DIMS)
    return vit_base_patch16_siglip_224(**{**own, **kwargs})


@register_model
def tiny_pe(pretrained=False, **kwargs):
    """Eva with CLS, rotary positions and an attention pool."""
    own = dict(PLAIN, ref_feat_shape=GRID, head_init_scale=1.0)
    own['attn_pool_num_heads'] = 3
    return vit_pe_core_tiny_patch16_384(**{**own, **kwargs})


@register_model
def tiny_eva02(pretrained=False, **kwargs):
    """Eva with CLS and rotary positions."""
    own = dict(PLAIN, ref_feat_shape=GRID, head_init_scale=1.0)
    return eva02_base_patch16_clip_224(**{**own, **kwargs})


@register_model
def tiny_mobileclip(pretrained=False, **kwargs):
    """ViT with CLS behind a stem of convolutions."""
    stem = hybrid.ConvStem(
        channels=(12, 12, WIDTH),
        stride=(2, 2, 2),
        kernel_size=(2, 2, 2),
        padding=0,
        act_layer=nn.GELU,
    )
    own = dict(TRUNK, backbone=stem, no_embed_class=True)
    return hybrid._create_vision_transformer_hybrid(
        'vit_base_mci_224', **{**own, **kwargs}
    )


@register_model
def tiny_convnext(pretrained=False, **kwargs):
    """Four stages; a layer scale that lets the blocks matter."""
    own = dict(depths=(1, 1, 1, 1), dims=(16, 32, 48, 64), ls_init_value=0.5)
    return convnext_base(**{**own, **kwargs})


@register_model
def tiny_fastvit(pretrained=False, **kwargs):
    """Four stages of Apple's MobileCLIP, attention in the last."""
    own = dict(layers=(1, 1, 1, 1), embed_dims=(16, 32, 64, 128))
    return fastvit_mci0(**{**own, **kwargs})


def make(
    vision: Dict[str, Any], text: Dict[str, Any], **others: Any
) -> Dict[str, Any]:
    """A CLIP of these settings."""
    return dict(
        embed_dim=DIMS,
        vision_cfg=dict(dict(image_size=SIZE), **vision),
        text_cfg=dict(
            dict(context_length=77, width=32, heads=2, layers=2), **text
        ),
        **others,
    )


def make_timm(name: str, pool: str, text=(), proj=None, **others: Any):
    """A CLIP with a vision tower of timm's."""
    vision = dict(timm_model_name=name, timm_pool=pool, timm_proj=proj)
    vision['image_size'] = others.pop('image_size', SIZE)
    return make(vision, dict(text), custom_text=True, **others)


_VIT = dict(layers=3, width=WIDTH, head_width=16, patch_size=PATCH)
_LAST = dict(no_causal_mask=True, pool_type='last')
_HALF = dict(mean=(0.5,) * 3, std=(0.5,) * 3, resize_mode='squash')

VIT = make(_VIT, {})
VIT_QUICKGELU = make(_VIT, {}, quick_gelu=True)
CLIPA = make(
    dict(_VIT, no_ln_pre=True, pool_type='avg', final_ln_after_pool=True),
    dict(_LAST, context_length=32),
)
WORLDWIDE = make(_VIT, dict(pool_type='eos', eos_id=49407), quick_gelu=True)
SIGLIP = make_timm(
    'tiny_siglip',
    'map',
    dict(_LAST, context_length=64, proj_bias=True, norm_kwargs=dict(eps=1e-6)),
    proj='none',
    init_logit_scale=math.log(10),
    init_logit_bias=-10,
    preprocess_cfg=_HALF,
)
PE = make_timm('tiny_pe', 'map', dict(context_length=32), preprocess_cfg=_HALF)
EVA02 = make_timm('tiny_eva02', 'token')
MOBILECLIP = make_timm('tiny_mobileclip', 'token')
CONVNEXT = make_timm('tiny_convnext', '', proj='linear', image_size=64)
FASTVIT = make_timm('tiny_fastvit', 'avg', image_size=64)
RESNET = make(dict(layers=[1, 1, 1, 1], width=8, image_size=64), {})

TRANSFORMERS = dict(
    vit=VIT,
    vit_quickgelu=VIT_QUICKGELU,
    clipa=CLIPA,
    siglip=SIGLIP,
    pe=PE,
    eva02=EVA02,
    mobileclip=MOBILECLIP,
)
CONVOLUTIONAL = dict(convnext=CONVNEXT, fastvit=FASTVIT, resnet=RESNET)
ALL = {**TRANSFORMERS, **CONVOLUTIONAL}


def with_tokenizer(
    clip: Dict[str, Any], folder: str, vocab_size: int, **kwargs: Any
) -> Dict[str, Any]:
    """The CLIP with the tokenizer of a local Hugging Face folder.

    Args:
        clip (dict): One of the above.
        folder (str): Folder of the tokenizer.
        vocab_size (int): Number of its tokens.
        **kwargs: open_clip's ``tokenizer_kwargs``, such as
            ``clean='canonicalize'`` of SigLIP.

    Returns:
        dict: A copy.
    """
    clip = copy.deepcopy(clip)
    clip['text_cfg'].update(
        hf_tokenizer_name=str(folder),
        vocab_size=vocab_size,
        tokenizer_kwargs=kwargs,
    )
    return clip


@torch.no_grad()
def shake(module: nn.Module, seed: int = 0) -> nn.Module:
    """Draws all weights so that each of them matters and no two images or
    texts look alike, which fresh weights of timm do not always care for."""
    generator = torch.Generator().manual_seed(seed)
    for name, weight in module.named_parameters():
        noise = torch.randn(weight.shape, generator=generator)
        if weight.dim() > 1:
            weight.copy_(noise * noise.squeeze()[0].numel() ** -0.5)
        elif weight.dim():
            weight.copy_(0.2 * noise + (not name.endswith('bias')))
    return module
