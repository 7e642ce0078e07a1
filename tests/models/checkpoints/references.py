"""Random CLIPs of the reference libraries, saved in their real formats.

``save(name, folder)`` returns what ``load_clip`` takes and the reference.
"""

import json
import warnings
from functools import partial
from typing import Callable, NamedTuple, Optional

import torch
from old_towers import OldCLIP
from open_clip.model import CLIP, CustomTextCLIP
from timm.models import register_model
from timm.models.eva import eva02_base_patch16_clip_224
from timm.models.vision_transformer import vit_base_patch16_siglip_224
from torch import nn

from harmoclip_mm.models.checkpoints.key_tables import TABLES, rename

IMAGE_SIZE = 64
OPEN_CLIP = dict(
    embed_dim=32,
    vision_cfg=dict(image_size=IMAGE_SIZE, layers=3, width=128, patch_size=16),
    text_cfg=dict(width=64, heads=1, layers=2),
)
QUICK = dict(OPEN_CLIP, quick_gelu=True)
EVA = dict(
    OPEN_CLIP,
    custom_text=True,
    vision_cfg=dict(
        image_size=IMAGE_SIZE,
        timm_model_name='eva02_tiny_for_tests',
        timm_pool='token',
        timm_proj=None,
    ),
)
SIGLIP = dict(
    embed_dim=64,
    init_logit_bias=-10,
    custom_text=True,
    vision_cfg=dict(
        image_size=IMAGE_SIZE,
        timm_model_name='siglip_tiny_for_tests',
        timm_pool='map',
        timm_proj='none',
    ),
    text_cfg=dict(
        context_length=16,
        vocab_size=500,
        width=64,
        heads=2,
        layers=2,
        mlp_ratio=2.5,
        no_causal_mask=True,
        proj_bias=True,
        pool_type='last',
        norm_kwargs=dict(eps=1e-6),
        act_kwargs=dict(approximate='tanh'),
    ),
)


@register_model
def eva02_tiny_for_tests(pretrained=False, **kwargs):
    """timm's tower of EVA-02-CLIP, two blocks 128 wide."""
    return eva02_base_patch16_clip_224(
        **dict(
            kwargs, img_size=IMAGE_SIZE, embed_dim=128, depth=2, num_heads=2
        )
    )


@register_model
def siglip_tiny_for_tests(pretrained=False, **kwargs):
    """timm's tower of SigLIP, two blocks 64 wide."""
    sizes = dict(img_size=IMAGE_SIZE, embed_dim=64, depth=2, num_heads=2)
    return vit_base_patch16_siglip_224(
        **dict(kwargs, **sizes, mlp_ratio=2.5, act_layer='gelu_tanh')
    )


class Reference(NamedTuple):
    """Functions that embed by a reference model, and what ``arch`` to say."""

    image: Callable
    text: Callable
    arch: Optional[dict] = None


def randomised(module):
    """Norms and biases too: their initial ones and zeros would hide swaps."""
    with torch.no_grad():
        for name, parameter in module.named_parameters():
            flat = parameter.dim() <= 1 and 'logit' not in name
            if flat or any(x in name for x in ('embed', 'probe', 'latent')):
                parameter.add_(torch.randn_like(parameter) * 0.1)
    return module.eval()


def build(cfg):
    """open_clip's model of a dict in its schema."""
    kind = CustomTextCLIP if cfg.get('custom_text') else CLIP
    cfg = {k: v for k, v in cfg.items() if k != 'custom_text'}
    return randomised(kind(**json.loads(json.dumps(cfg))))


def scripted_openai(model, path):
    """The archive as OpenAI publishes it: traced, three numbers beside."""
    for name, value in (
        ('input_resolution', IMAGE_SIZE),
        ('context_length', 77),
        ('vocab_size', 49408),
    ):
        if hasattr(model, name):
            delattr(model, name)
        model.register_buffer(name, torch.tensor(value))
    img = torch.zeros(1, 3, IMAGE_SIZE, IMAGE_SIZE)
    ids = torch.zeros(1, 77, dtype=torch.int)
    with warnings.catch_warnings():
        warnings.simplefilter('ignore')
        traced = torch.jit.trace_module(
            model,
            dict(forward=(img, ids), encode_text=ids, encode_image=img),
            check_trace=False,
        )
    traced.save(str(path))


def huggingface_clip(act='quick_gelu', **text):
    """transformers' CLIPModel at a small width, heads of 32 channels."""
    import transformers

    tower = dict(
        hidden_size=64,
        intermediate_size=160,
        num_hidden_layers=3,
        num_attention_heads=2,
        hidden_act=act,
    )
    config = transformers.CLIPConfig(
        vision_config=dict(tower, image_size=IMAGE_SIZE, patch_size=16),
        text_config=dict(tower, **text),
        projection_dim=32,
    )
    return randomised(transformers.CLIPModel(config))


def huggingface_siglip():
    """transformers' SiglipModel at a small width."""
    import transformers

    tower = dict(
        hidden_size=64,
        intermediate_size=160,
        num_hidden_layers=2,
        num_attention_heads=2,
    )
    config = transformers.SiglipConfig(
        vision_config=dict(tower, image_size=IMAGE_SIZE, patch_size=16),
        text_config=dict(tower, vocab_size=500, max_position_embeddings=16),
    )
    return randomised(transformers.SiglipModel(config))


EVA_NAMES = (
    ('.attn.norm.', '.attn.inner_attn_ln.'),
    ('.attn.q_proj.bias', '.attn.q_bias'),
    ('.attn.v_proj.bias', '.attn.v_bias'),
    ('.mlp.fc1_g.', '.mlp.w1.'),
    ('.mlp.fc1_x.', '.mlp.w2.'),
    ('.mlp.fc2.', '.mlp.w3.'),
    ('.mlp.norm.', '.mlp.ffn_ln.'),
)


def eva_clip_names(state):
    """timm's names to those of EVA-CLIP's repository, with its buffers."""
    renamed = {}
    for name, value in state.items():
        name = name.replace('visual.trunk.', 'visual.')
        for timm_name, eva in EVA_NAMES:
            if name.startswith('visual.'):
                name = name.replace(timm_name, eva)
        renamed[name] = value
    angles = torch.zeros(16, 64)
    for name in ('visual.rope.', 'visual.blocks.0.attn.rope.'):
        renamed[name + 'freqs_cos'] = renamed[name + 'freqs_sin'] = angles
    return renamed


class _Vocabulary:
    """mmpretrain's CLIP asks its tokenizer for nothing else here."""

    def get_vocab(self):
        return {}


def mmpretrain_model():
    """mmpretrain's CLIP at a small width."""
    from mmpretrain.models.multimodal.clip.clip import CLIPZeroShot
    from mmpretrain.registry import TOKENIZER

    name = 'VocabularyOfNothing'
    TOKENIZER.register_module(name, force=True, module=_Vocabulary)
    arch = dict(
        embed_dims=128, num_layers=3, num_heads=2, feedforward_channels=512
    )
    model = CLIPZeroShot(
        vision_backbone=dict(
            type='mmpretrain.VisionTransformer',
            arch=arch,
            img_size=IMAGE_SIZE,
            patch_size=16,
            pre_norm=True,
            # CLIP's; the class's own default is 1e-6
            norm_cfg=dict(type='LN', eps=1e-5),
            layer_cfgs=dict(act_cfg=dict(type='mmpretrain.QuickGELU')),
        ),
        projection=dict(
            type='mmpretrain.CLIPProjection', in_channels=128, out_channels=32
        ),
        text_backbone=dict(
            type='mmpretrain.CLIPTransformer', width=64, layers=2, heads=1
        ),
        tokenizer=dict(type=f'mmpretrain.{name}'),
        vocab_size=49408,
        transformer_width=64,
        proj_dim=32,
        data_preprocessor=dict(type='mmpretrain.MultiModalDataPreprocessor'),
        text_prototype=['dog'],
    )
    nn.init.normal_(model.visual.cls_token)
    nn.init.normal_(model.visual.pos_embed)
    return randomised(model)


def trained(state):
    """What open_clip's training writes: DDP, optimizer, epoch."""
    return dict(
        epoch=3,
        name='run',
        state_dict={f'module.{name}': v for name, v in state.items()},
        optimizer=dict(state={0: dict(step=torch.tensor(1.0))}),
    )


def _open_clip(cfg, write, say=True):
    def saver(folder):
        model = build(cfg)
        path = str(write(model, folder))
        return path, Reference(
            model.encode_image, model.encode_text, cfg if say else None
        )

    return saver


def _torch(name, wrap=lambda state: state, **kwargs):
    def write(model, folder):
        torch.save(wrap(model.state_dict()), folder / name, **kwargs)
        return folder / name

    return write


def _safetensors(model, folder):
    from safetensors.torch import save_file

    save_file(model.state_dict(), folder / 'any.safetensors')
    return folder / 'any.safetensors'


def _folder(cfg):
    def write(model, folder):
        from safetensors.torch import save_file

        save_file(model.state_dict(), folder / 'open_clip_model.safetensors')
        config = dict(model_cfg=cfg, preprocess_cfg=dict(mean=[0.5] * 3))
        (folder / 'open_clip_config.json').write_text(json.dumps(config))
        return folder

    return write


def _openai_archive(model, folder):
    scripted_openai(model, folder / 'some.pt')
    return folder / 'some.pt'


def _huggingface(make, arch=None, **kwargs):
    def saver(folder):
        model = make()
        model.save_pretrained(folder, **kwargs)
        return str(folder), Reference(
            model.get_image_features, model.get_text_features, arch
        )

    return saver


def _mmpretrain(folder):
    model = mmpretrain_model()
    path = folder / 'mmpretrain.pth'
    torch.save(dict(meta={}, state_dict=model.state_dict()), path)
    return str(path), Reference(
        model.extract_image_feat, model.extract_text_feat, QUICK
    )


# As the configs of version 0.1 named them.
OLD_CONFIG = dict(
    backbone=dict(
        type='HarmoCLIPViT',
        arch=dict(
            embed_dims=128, num_layers=3, num_heads=2, feedforward_channels=512
        ),
        drop_path_rate=0.1,
        dense_mode='token',
        init_cfg=dict(type='Pretrained', checkpoint='gone.pt'),
    ),
    text_encoder=dict(
        type='CLIPTextTransformer', embed_dims=64, num_layers=2, num_heads=1
    ),
)
OLD_EVA_CONFIG = dict(
    backbone=dict(type='HarmoCLIPEVA02', arch='base', img_size=IMAGE_SIZE),
    text_encoder=dict(act_cfg=dict(type='GELU'), num_heads=1),
)


def old_checkpoint(cfg, config, form, folder):
    """A Runner's checkpoint of version 0.1, with head and teacher."""
    weights = build(dict(cfg, custom_text=True)).state_dict()
    weights, rest = rename(weights, TABLES[form], back=True)
    assert not rest
    weights = {name: value.clone() for name, value in weights.items()}
    act = (config['text_encoder'].get('act_cfg') or {}).get('type')
    reference = OldCLIP(dict(weights), 2, 1, act or 'QuickGELU')
    vision = {k: v for k, v in weights.items() if k.startswith('backbone.')}
    weights.update({f'teacher.{k}': v + 1 for k, v in vision.items()})
    weights['heads.lrc.logit_scale.log_scale'] = torch.tensor(1.5)
    meta = dict(epoch=3, cfg=f'model = {config!r}\n')
    path = folder / 'epoch_3.pth'
    torch.save(dict(meta=meta, state_dict=weights, optimizer={}), path)
    return str(path), Reference(reference.image, reference.text, cfg)


SAVERS = {
    'openai_archive': _open_clip(QUICK, _openai_archive),
    'openai_state_dict': _open_clip(
        QUICK,
        _torch(
            'state.pt',
            lambda s: dict(s, input_resolution=torch.tensor(IMAGE_SIZE)),
        ),
    ),
    'open_clip': _open_clip(OPEN_CLIP, _torch('model.pt')),
    'open_clip_old_torch': _open_clip(
        OPEN_CLIP, _torch('old.bin', _use_new_zipfile_serialization=False)
    ),
    'open_clip_training': _open_clip(OPEN_CLIP, _torch('epoch_3.pt', trained)),
    'open_clip_safetensors': _open_clip(OPEN_CLIP, _safetensors),
    'open_clip_folder': _open_clip(QUICK, _folder(QUICK), say=False),
    'open_clip_custom_text': _open_clip(
        dict(OPEN_CLIP, custom_text=True), _torch('custom.pt')
    ),
    'open_clip_eva': _open_clip(EVA, _torch('eva.pt')),
    'open_clip_siglip': _open_clip(SIGLIP, _folder(SIGLIP), say=False),
    'eva_clip': _open_clip(EVA, _torch('EVA02_CLIP.pt', eva_clip_names)),
    'clipself': _open_clip(
        EVA, _torch('clipself.pt', lambda s: trained(eva_clip_names(s)))
    ),
    'huggingface': _huggingface(huggingface_clip),
    'huggingface_gelu': _huggingface(
        partial(huggingface_clip, 'gelu', eos_token_id=2)
    ),
    'huggingface_sharded': _huggingface(
        huggingface_clip, max_shard_size='4MB'
    ),
    'huggingface_bin': _huggingface(
        huggingface_clip, safe_serialization=False
    ),
    'huggingface_siglip': _huggingface(huggingface_siglip, SIGLIP),
    'mmpretrain': _mmpretrain,
    'version_0_1': partial(
        old_checkpoint, QUICK, OLD_CONFIG, 'harmoclip_mm_0_1'
    ),
    'version_0_1_eva': partial(
        old_checkpoint, EVA, OLD_EVA_CONFIG, 'harmoclip_mm_0_1_eva'
    ),
}


def save(name, folder):
    """Saves a random reference in a format.

    Returns:
        Tuple[str, Reference]: Path and reference.
    """
    return SAVERS[name](folder)
