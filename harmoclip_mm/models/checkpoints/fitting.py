"""Which CLIPs weights fit, told by CLIPs on the meta device."""

import json
import re
from functools import lru_cache
from typing import Any, Dict, List, Mapping, Optional, Sequence, Tuple

import open_clip
import torch
from open_clip.model import CustomTextCLIP
from torch import nn

from harmoclip_mm.errors import CheckpointError

Shapes = Mapping[str, Sequence[int]]
Facts = Mapping[str, Mapping[str, Any]]  # traits by tower
# Resized to the grid of the tower that loads them.
_POSITIONS = re.compile(r'visual\..*(positional_embedding|pos_embed)')


def meta_clip(model_cfg: Mapping[str, Any], source: str = '') -> nn.Module:
    """Builds open_clip's model of a CLIP in its schema, on the meta device.

    With the text tower in ``text``; without it if a hub tells its shape. If
    there is no such CLIP, a CheckpointError names the ``source`` of its
    config.
    """
    try:
        return _meta_clip(json.dumps(model_cfg, sort_keys=True))
    except Exception as error:  # whatever a builder makes of a wrong value
        raise CheckpointError(
            f'open_clip can build no CLIP as {source} says it: {error}'
        ) from error


@lru_cache(maxsize=64)
def _meta_clip(text: str) -> nn.Module:
    cfg = json.loads(text)
    cfg.pop('custom_text', None)
    cfg['vision_cfg']['timm_model_pretrained'] = False
    elsewhere = cfg['text_cfg'].get('hf_model_name')
    with torch.device('meta'):
        clip = CustomTextCLIP(**dict(cfg, text_cfg={}) if elsewhere else cfg)
    if elsewhere:
        del clip.text
    return clip


def shapes_of(model_cfg: Mapping[str, Any]) -> Shapes:
    """Shapes of a CLIP's weights by open_clip's names, text in ``text.``."""
    weights = meta_clip(model_cfg).state_dict()
    return {name: tuple(value.shape) for name, value in weights.items()}


def traits(tower: nn.Module) -> Dict[str, Any]:
    """What changes the output of open_clip's tower and shows in no shape."""
    modules, acts = list(tower.modules()), set()
    for module in modules:
        name = type(module).__name__ + getattr(module, 'approximate', '')
        if 'GELU' in name:
            gelu = 'gelu_tanh' if name.lower().endswith('tanh') else 'gelu'
            acts.add('quick_gelu' if 'Quick' in name else gelu)
    return dict(
        heads=sorted(
            {m.num_heads for m in modules if hasattr(m, 'num_heads')}
        ),
        eps=sorted({m.eps for m in modules if isinstance(m, nn.LayerNorm)}),
        activation=sorted(acts),
        pool=getattr(tower, 'pool_type', None),
        norm_after_pool=getattr(tower, 'final_ln_after_pool', False),
        causal=getattr(tower, 'attn_mask', None) is not None,
    )


def differences(
    found: Shapes,
    facts: Facts,
    wanted: Shapes,
    towers: Mapping[str, nn.Module],
    any_grid: bool = False,
) -> List[str]:
    """Lists where weights are not those of a model, a clause each.

    Weights are told by their shapes and by what is known of their towers, the
    model by its shapes and its towers. With ``any_grid``, vision towers may
    have position embeddings of another grid.
    """
    listed = []
    for name in sorted({*found, *wanted}):
        one, other = found.get(name, 'absent'), wanted.get(name, 'absent')
        resized = any_grid and _POSITIONS.fullmatch(name)
        if one != other and not (
            (resized and one[-1] == other[-1])
            or name.endswith('batches_tracked')
        ):
            listed.append(f'{name} is {one} in the file, {other} in the model')
    for tower in sorted({*facts} & {*towers}):
        own = traits(towers[tower])
        listed += [
            f'the {tower} tower was trained with {trait} {value}, and has '
            f'{own[trait]} in the model'
            for trait, value in facts[tower].items()
            if own[trait] != value
        ]
    return listed


def fitting_clips(found: Shapes, facts: Facts) -> Tuple[List[str], str]:
    """Finds the CLIPs of open_clip's list that weights of both towers fit.

    Returns their names, several where shapes and facts cannot tell, and a
    clause that says them, or else which is the nearest.
    """

    def differing(name: str) -> List[str]:
        cfg = open_clip.get_model_config(name)
        towers, shapes = dict(meta_clip(cfg).named_children()), found
        if 'text' not in towers:  # as far as can be told
            shapes = {k: v for k, v in found.items() if k[:5] != 'text.'}
        return differences(shapes, facts, shapes_of(cfg), towers)

    away = {}  # by what is known before anything is built
    for name in open_clip.list_models():
        cfg = open_clip.get_model_config(name)
        if 'multimodal_cfg' not in cfg:
            sizes = _sizes(cfg).items()
            away[name] = sum(found.get(key) != size for key, size in sizes)
    names = [name for name in away if not away[name] and not differing(name)]
    if names:
        return names, f'its weights fit {" and ".join(names)}'
    nearest = min(away, key=away.get)
    return [], (
        'its weights fit no CLIP that open_clip lists, the nearest is '
        f'{nearest}, but {differing(nearest)[0]}'
    )


def _sizes(cfg: Mapping[str, Any]) -> Dict[str, Optional[Sequence[int]]]:
    """Shapes of a few weights that a config tells at once; None: absent."""
    vision, text = cfg['vision_cfg'], cfg['text_cfg']
    side, width = vision.get('patch_size', 16), vision.get('width', 768)
    sizes: Dict[str, Optional[Sequence[int]]] = {}
    if 'timm_model_name' in vision:
        sizes['visual.conv1.weight'] = None
    elif isinstance(vision.get('layers', 12), int):
        sizes['visual.conv1.weight'] = (width, 3, side, side)
    else:  # a ResNet
        sizes['visual.class_embedding'] = None
    norm = 'text.transformer.resblocks.{}.ln_1.weight'
    if 'hf_model_name' in text:
        return {**sizes, norm.format(0): None}
    width, depth = text.get('width', 512), text.get('layers', 12)
    sizes[norm.format(depth - 1)] = (width,)
    sizes[norm.format(depth)] = None
    sizes['text.token_embedding.weight'] = text.get('vocab_size', 49408), width
    length = text.get('context_length', 77)
    sizes['text.positional_embedding'] = length, width
    if text.get('proj_type') == 'none':
        sizes['text.text_projection'] = None
    elif text.get('proj_bias'):
        sizes['text.text_projection.weight'] = cfg['embed_dim'], width
    else:
        sizes['text.text_projection'] = width, cfg['embed_dim']
    return sizes
