"""The architecture that a state dict belongs to, read off its shapes."""

import re
from typing import Any, Dict, Iterable, List, Mapping, Optional, Tuple

from torch import Tensor

from harmoclip_mm.errors import CheckpointError

from .activation import ACT_CFGS, Activation
from .key_maps import OWN
from .own_config import own_model_cfg
from .reading import RawCheckpoint

# openai/CLIP, ``clip/clip.py``
CLIP_MEAN = (0.48145466, 0.4578275, 0.40821073)
CLIP_STD = (0.26862954, 0.26130258, 0.27577711)
# Width of an attention head: 64 but for these widths of a vision tower
# (open_clip, ``model_configs``: ViT-H-14, ViT-g-14, ViT-bigG-14).
_HEAD_WIDTHS = {1280: 80, 1408: 88, 1664: 104}
# What is often mistaken for a CLIP that we have, by the names it has.
_OTHERS = (
    (r'visual\.(layer1|attnpool)\.', "a CLIP with a ResNet ('RN50' ...)"),
    (r'(^|\.)logit_bias$', 'a SigLIP'),
    (r'^visual\.trunk\.', 'a CLIP with another tower of timm'),
    (r'^text\.transformer\.(encoder|embeddings)\.', 'a CLIP with a BERT'),
    (r'\.ls_[12]\.gamma$', 'a CLIP with LayerScale'),
    (r'^(image|visual)_encoder\.|^image_encoder', 'another two-tower model'),
    (r'^(bert|roberta|encoder\.layer)\.', 'a BERT'),
    (r'^layer4\.\d+\.conv1', 'a ResNet'),
    (r'^(bbox_head|rpn_head|roi_head)\.', 'a detector'),
    (r'^blocks\.\d+\.attn', 'a vision transformer alone'),
)


def describe_stranger(names: Iterable[str]) -> str:
    """Says what a state dict that is no CLIP of ours seems to be.

    Args:
        names (Iterable[str]): Names of its weights.

    Returns:
        str: A noun phrase, with the first names.
    """
    names = list(names)
    shown = ', '.join(names[:3]) + (', ...' if len(names) > 3 else '')
    for pattern, what in _OTHERS:
        if any(re.search(pattern, name) for name in names):
            return f'{what} (weights {shown})'
    return f'a model with the weights {shown}'


def check_supported(names: Iterable[str], path: str) -> None:
    """Refuses variants of CLIP whose features would come out wrong.

    Args:
        names (Iterable[str]): Names in the file that found no use.
        path (str): The file, for the message.

    Raises:
        CheckpointError: If one of them belongs to such a variant.
    """
    names = list(names)
    for pattern, what in (
        (r'\.ls_[12]\.gamma$', 'LayerScale'),
        (r'^visual\.attn_pool\.|\.map_head', 'attention pooling'),
        (r'(^|\.)logit_bias$', 'a SigLIP bias'),
        (r'\.(ln_q|ln_k|q_norm|k_norm)\.', 'norms of queries and keys'),
    ):
        found = [name for name in names if re.search(pattern, name)]
        if found:
            raise CheckpointError(
                f'checkpoint {path} is of a CLIP with {what} ({found[0]}), '
                'an architecture that harmoclip_mm does not have.'
            )


def infer_model_cfg(
    state_dict: Mapping[str, Tensor],
    activation: Activation,
    raw: RawCheckpoint,
    form: str,
    arch: Optional[Mapping] = None,
) -> Dict:
    """Writes the config of the ``HarmoCLIP`` that a state dict belongs to.

    Widths, depths and sizes come from shapes. The number of attention heads
    does not show in them: it comes from a config beside or in the checkpoint,
    else from the width of a head, which is 64 in CLIP (and 80, 88 and 104 in
    H, g and bigG).

    Args:
        state_dict (Mapping[str, Tensor]): Weights in our names; both towers.
        activation (Activation): Activation of the towers.
        raw (RawCheckpoint): The checkpoint as read, for its configs.
        form (str): Name of its format.
        arch (Mapping, optional): Settings that replace what is inferred, by
            their place in the config, e.g. ``dict(backbone=dict(
            img_size=448))``.

    Returns:
        dict: Config of a ``HarmoCLIP`` without heads.

    Raises:
        CheckpointError: If the shapes are of no architecture that we have.
    """
    try:
        hints = _hints(raw, form)
        for tower, known in _own_hints(arch or {}).items():
            hints[tower].update({k: v for k, v in known.items() if v})
        cfg = dict(
            type='harmoclip_mm.HarmoCLIP',
            data_preprocessor=_preprocessor(raw),
            backbone=_vision_cfg(
                state_dict, activation.vision, hints['backbone'], raw.path
            ),
            text_encoder=_text_cfg(
                state_dict, activation.text, hints['text_encoder']
            ),
            region_extractor=dict(type='harmoclip_mm.RoIFeatureExtractor'),
        )
        joint = [cfg[tower]['out_dims'] for tower in hints]
        if joint[0] != joint[1]:
            raise CheckpointError(
                f'the towers of checkpoint {raw.path} do not share one joint '
                f'space: the vision tower ends in {joint[0]} channels, the '
                f'text tower in {joint[1]}.'
            )
        return _merged(cfg, arch or {})
    except (KeyError, IndexError, ValueError, TypeError) as error:
        raise CheckpointError(
            f'the architecture of checkpoint {raw.path} cannot be told from '
            f'its weights ({type(error).__name__}: {error}).'
        ) from error


def _vision_cfg(state, act: str, hints: Dict, path: str) -> Dict:
    kernel = state['backbone.patch_embed.projection.weight'].shape
    positions = state['backbone.pos_embed'].shape[1] - 1
    dims, patch = kernel[0], kernel[2]
    eva = 'backbone.layers.0.ffn.w12.weight' in state
    side = round(positions**0.5)
    img_size: Any = hints.get('img_size')
    if not img_size:
        img_size = side * patch
        if side * side != positions:
            raise CheckpointError(
                f'checkpoint {path} has {positions} position embeddings, '
                'which are no square: say their input size by arch=dict('
                'backbone=dict(img_size=(height, width))).'
            )
    first = 'ffn.w3' if eva else 'ffn.layers.0.0'
    hidden = state[f'backbone.layers.0.{first}.weight'].shape[eva]
    cfg = dict(
        type='harmoclip_mm.HarmoCLIP' + ('EVA02' if eva else 'ViT'),
        arch=dict(
            embed_dims=dims,
            num_layers=_depth(state, 'backbone.layers.'),
            num_heads=hints.get('num_heads')
            or _num_heads(dims, _HEAD_WIDTHS.get(dims, 64), path),
            feedforward_channels=hidden,
        ),
        img_size=img_size,
        patch_size=patch,
        out_dims=state['backbone.proj.weight'].shape[0],
    )
    if hints.get('dense_mode'):
        cfg['dense_mode'] = hints['dense_mode']
    if not eva:
        cfg['act_cfg'] = dict(ACT_CFGS[act])
    return cfg


def _text_cfg(state, act: str, hints: Dict) -> Dict:
    vocab_size, dims = state['text_encoder.token_embedding.weight'].shape
    return dict(
        type='harmoclip_mm.CLIPTextTransformer',
        embed_dims=dims,
        num_layers=_depth(state, 'text_encoder.layers.'),
        num_heads=hints.get('num_heads') or _num_heads(dims, 64, 'the text'),
        feedforward_channels=state['text_encoder.layers.0.fc1.weight'].shape[
            0
        ],
        out_dims=state['text_encoder.proj.weight'].shape[0],
        vocab_size=vocab_size,
        context_length=len(state['text_encoder.pos_embed']),
        act_cfg=dict(ACT_CFGS[act]),
    )


def _depth(state: Mapping[str, Tensor], stem: str) -> int:
    blocks = {
        int(name[len(stem) :].split('.')[0])
        for name in state
        if name.startswith(stem)
    }
    return max(blocks) + 1


def _num_heads(dims: int, head_width: int, what: str) -> int:
    if dims % head_width:
        raise CheckpointError(
            f'the number of attention heads of {what} ({dims} wide) cannot '
            'be told: say it by arch=dict(backbone=dict(arch=dict('
            'num_heads=...)), text_encoder=dict(num_heads=...)).'
        )
    return dims // head_width


def _hints(raw: RawCheckpoint, form: str) -> Dict[str, Dict]:
    """What configs say that shapes do not: heads, odd sizes, dense mode."""
    if form == OWN:
        return _own_hints(own_model_cfg(raw.container) or {})
    config = raw.configs.get('config.json')
    if form == 'huggingface' and config:
        towers = [
            config.get(name) or {} for name in ('vision_config', 'text_config')
        ]
        # transformers leaves out what equals its defaults
        eps = [tower.get('layer_norm_eps', 1e-5) for tower in towers]
        for each in eps:
            if abs(each - 1e-5) > 1e-9:
                raise CheckpointError(
                    f'config.json beside {raw.path} has layer norms of '
                    f'epsilon {each}, but CLIP has 1e-5.'
                )
        heads = [
            tower.get('num_attention_heads', default)
            for tower, default in zip(towers, (12, 8))
        ]
        return dict(
            backbone=dict(num_heads=heads[0]),
            text_encoder=dict(num_heads=heads[1]),
        )
    cfg = raw.configs.get('open_clip_config.json', {}).get('model_cfg')
    if isinstance(cfg, dict):
        vision, text = cfg.get('vision_cfg') or {}, cfg.get('text_cfg') or {}
        heads = None
        if 'width' in vision:
            heads = vision['width'] // vision.get('head_width', 64)
        return dict(
            backbone=dict(num_heads=heads),
            text_encoder=dict(num_heads=text.get('heads')),
        )
    return dict(backbone={}, text_encoder={})


def _own_hints(cfg: Mapping) -> Dict[str, Dict]:
    backbone = cfg.get('backbone') or {}
    arch = backbone.get('arch')
    size = backbone.get('img_size')
    return dict(
        backbone=dict(
            num_heads=_whole(arch.get('num_heads'))
            if isinstance(arch, dict)
            else None,
            img_size=tuple(size) if _is_odd_size(size) else None,
            dense_mode=backbone.get('dense_mode')
            if isinstance(backbone.get('dense_mode'), str)
            else None,
        ),
        text_encoder=dict(
            num_heads=_whole((cfg.get('text_encoder') or {}).get('num_heads'))
        ),
    )


def _whole(number: Any) -> Optional[int]:
    return number if isinstance(number, int) else None


def _is_odd_size(size: Any) -> bool:
    return (
        isinstance(size, (list, tuple))
        and len(size) == 2
        and all(isinstance(side, int) for side in size)
        and size[0] != size[1]
    )


def _preprocessor(raw: RawCheckpoint) -> Dict:
    """Mean and std of the colours, as mmdet's preprocessor wants them."""
    mean, std = CLIP_MEAN, CLIP_STD
    config = raw.configs.get('preprocessor_config.json') or {}
    mean, std = config.get('image_mean', mean), config.get('image_std', std)
    config = raw.configs.get('open_clip_config.json', {})
    config = config.get('preprocess_cfg') or {}
    mean, std = config.get('mean', mean), config.get('std', std)
    scaled: List[List[float]] = [
        [round(255.0 * value, 7) for value in values] for values in (mean, std)
    ]
    return dict(
        type='mmdet.DetDataPreprocessor',
        mean=scaled[0],
        std=scaled[1],
        bgr_to_rgb=True,
    )


def _merged(cfg: Dict, changes: Mapping) -> Dict:
    merged = dict(cfg)
    for key, value in changes.items():
        if isinstance(value, Mapping) and isinstance(merged.get(key), dict):
            value = _merged(merged[key], value)
        merged[key] = value
    return merged


def architecture_name(model_cfg: Mapping) -> Optional[str]:
    """Names an architecture as open_clip does.

    Args:
        model_cfg (Mapping): Config from :func:`infer_model_cfg`.

    Returns:
        str, optional: E.g. ``'ViT-L-14-336'``; None at other widths.
    """
    for name, key in ARCHITECTURES.items():
        if _key(model_cfg) == key:
            return name
    return None


def _key(cfg: Mapping) -> Tuple:
    vision, text = cfg['backbone'], cfg['text_encoder']
    arch = vision['arch']
    return (
        vision['type'].endswith('EVA02'),
        arch['embed_dims'],
        arch['num_layers'],
        arch['num_heads'],
        vision['patch_size'],
        vision['img_size'],
        vision['out_dims'],
        text['embed_dims'],
        text['num_layers'],
        text['num_heads'],
    )


# open_clip, ``model_configs``
ARCHITECTURES: Dict[str, Tuple] = {
    'ViT-B-32': (False, 768, 12, 12, 32, 224, 512, 512, 12, 8),
    'ViT-B-16': (False, 768, 12, 12, 16, 224, 512, 512, 12, 8),
    'ViT-L-14': (False, 1024, 24, 16, 14, 224, 768, 768, 12, 12),
    'ViT-L-14-336': (False, 1024, 24, 16, 14, 336, 768, 768, 12, 12),
    'ViT-H-14': (False, 1280, 32, 16, 14, 224, 1024, 1024, 24, 16),
    'EVA02-B-16': (True, 768, 12, 12, 16, 224, 512, 512, 12, 8),
    'EVA02-L-14': (True, 1024, 24, 16, 14, 224, 768, 768, 12, 12),
    'EVA02-L-14-336': (True, 1024, 24, 16, 14, 336, 768, 768, 12, 12),
}
