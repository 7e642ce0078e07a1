"""Loading weights into a model, so that nothing is lost silently."""

from typing import Any, Dict, Mapping, Optional, Sequence

from mmengine.logging import print_log
from mmengine.model import update_init_info
from mmengine.utils import to_2tuple
from torch import Tensor, nn

from harmoclip_mm.errors import CheckpointError, UsageError
from harmoclip_mm.registry import CLIPS

from .checkpoint import Checkpoint, read_checkpoint
from .fitting import Facts, differences, fitting_clips, meta_clip, traits
from .key_tables import OWN, rename

# A head's own temperature is of no use once training is over, and a CLIP
# from elsewhere has none.
HEADS = ('heads.',)
_PLACES = {'visual': 'backbone', 'text': 'text_encoder'}


def clip_of(checkpoint: Checkpoint) -> Any:
    """Tells which CLIP a checkpoint is, or refuses to guess.

    Returns:
        str | Mapping: The CLIP, as :func:`clip_spec` takes it.

    Raises:
        CheckpointError: If it is no whole CLIP; or does not say which one,
            and its weights fit none that open_clip lists, or several.
    """
    path, shapes = checkpoint.path, checkpoint.shapes
    if checkpoint.format is None or not checkpoint.is_whole:
        raise CheckpointError(
            f'checkpoint {path} is no whole CLIP of a known format: its '
            f'weights are called {", ".join(list(checkpoint.weights)[:3])}.'
        )
    if checkpoint.clip is not None:
        spec = CLIPS.get('CLIPSpec')(checkpoint.clip)
        meta_clip(spec.model_cfg, path)  # which refuses unknown keys
        return checkpoint.clip
    names, clause = fitting_clips(shapes, checkpoint.facts)
    if len(names) != 1:
        raise CheckpointError(
            f'checkpoint {path} does not say which CLIP it is, and {clause}: '
            'say it by arch=... (--arch), a name or a dict in the schema of '
            "open_clip's model files."
        )
    return names[0]


def check_clip(
    model: nn.Module, checkpoint: Checkpoint, part: str = ''
) -> None:
    """Refuses a CLIP that is not the one that a model is built for.

    Args:
        model (nn.Module): A ``HarmoCLIP``, one of its towers, or a detector
            with one.
        checkpoint (Checkpoint): Weights of a CLIP.
        part (str): Prefix of the model's weights within a ``HarmoCLIP``.
            Defaults to that of a whole one.

    Raises:
        CheckpointError: If shapes differ, other than in the grid of position
            embeddings, or what is known of the weights does; or if that grid
            is known to be no square and is another.
    """
    holders = {
        tower: model if part == f'{place}.' else getattr(model, place, None)
        for tower, place in _PLACES.items()
    }
    holders = {k: v for k, v in holders.items() if hasattr(v, 'spec')}
    if not holders:
        return
    if 'visual' in holders:
        _check_grid(holders['visual'], checkpoint)
    own = {part + name: value for name, value in model.state_dict().items()}
    wanted = Checkpoint('', rename(own, OWN)[0], format=OWN).shapes
    # A single tower, or a detector, has no place for the rest of a CLIP.
    places = {*holders, *(name for name in wanted if name[:5] == 'logit')}
    if 'logit_scale' in places:
        places.add('logit_bias')
    lacking = {*_PLACES, 'logit_scale', 'logit_bias'} - places
    found = {
        name: shape
        for name, shape in checkpoint.shapes.items()
        if name.split('.')[0] not in lacking
    }
    towers = {tower: getattr(v, tower) for tower, v in holders.items()}
    listed = differences(found, _known(checkpoint), wanted, towers, True)
    if listed:
        clause = ''
        if checkpoint.is_whole:
            names, told = fitting_clips(checkpoint.shapes, checkpoint.facts)
            clause = f'; {told}' if names else ''
        built = ' and '.join({v.spec.name for v in holders.values()})
        raise CheckpointError(
            f'checkpoint {checkpoint.path} is not of the CLIP {built} that '
            f'the model is built for ({len(listed)} differences, the first: '
            f'{listed[0]}){clause}.'
        )


def _check_grid(tower: nn.Module, checkpoint: Checkpoint) -> None:
    """Refuses to resize position embeddings as if their grid were a square,
    which their number does not tell: 9 x 16 cells are as many as 12 x 12."""
    size = checkpoint.towers.get('backbone', {}).get('img_size')
    try:
        size = size or CLIPS.get('CLIPSpec')(checkpoint.clip).img_size
    except (UsageError, TypeError):  # it says none, or a folder elsewhere
        return
    size, has_grid = tuple(to_2tuple(size)), tower.family.pos_embed is not None
    if has_grid and size[0] != size[1] and size != tower.img_size:
        raise CheckpointError(
            f'checkpoint {checkpoint.path} has position embeddings for images '
            f'of {size[0]} x {size[1]} px (height, width), which are resized '
            f'to no other shape: build the backbone with img_size={size}; '
            'inputs may have any size.'
        )


def _known(checkpoint: Checkpoint) -> Facts:
    """Traits of the CLIP that a file says it is, else what it proves."""
    try:
        spec = CLIPS.get('CLIPSpec')(checkpoint.clip)
        towers = meta_clip(spec.model_cfg).named_children()
        return {name: traits(tower) for name, tower in towers}
    except (UsageError, TypeError):  # it says none, or a folder elsewhere
        return checkpoint.facts


def load_clip_weights(
    model: nn.Module, checkpoint: Checkpoint, part: str = ''
) -> None:
    """Copies a CLIP into a model; heads of a training may lack or be left.

    Args:
        model (nn.Module): A ``HarmoCLIP`` or one of its towers.
        checkpoint (Checkpoint): Weights of a CLIP.
        part (str): Prefix of the model's weights within a ``HarmoCLIP``.
            Defaults to that of a whole one.

    Raises:
        CheckpointError: If they do not fit.
    """
    check_clip(model, checkpoint, part)
    weights = {
        name[len(part) :]: value
        for name, value in checkpoint.own_weights.items()
        if name.startswith((*HEADS, *_PLACES.values(), 'logit_scale'))
        and name.startswith(part)
    }
    optional = (*HEADS, 'backbone.dense_pool.', 'dense_pool.')
    load_matching(model, weights, checkpoint.path, optional)


def load_matching(
    model: nn.Module,
    state_dict: Mapping[str, Tensor],
    source: str,
    optional: Sequence[str] = (),
) -> None:
    """Loads a state dict that must fit the model completely.

    Hooks of the model take part, e.g. those that resize position
    embeddings, so what they make fit does fit.

    Args:
        model (nn.Module): The model.
        state_dict (Mapping[str, Tensor]): The weights.
        source (str): Name of the file, for the message.
        optional (Sequence[str]): Prefixes of keys that may be missing or
            left over; such keys are logged by name. Defaults to none.

    Raises:
        CheckpointError: If keys are missing or left over, or shapes differ;
            names them.
    """
    wrong = f'checkpoint {source} is of another model than the config builds: '
    try:
        missing, unexpected = model.load_state_dict(state_dict, strict=False)
    except RuntimeError as error:  # torch's way to report shapes
        raise CheckpointError(f'{wrong}{error}') from error
    complaints = []
    for what, keys in (('missing', missing), ('left over', unexpected)):
        allowed = [k for k in keys if k.startswith(tuple(optional))]
        if allowed:
            print_log(
                f'{source}: {len(allowed)} weights are {what}, as they may: '
                f'{", ".join(allowed)}.',
                logger='current',
            )
        # old checkpoints of BatchNorm lack its count of batches
        keys = [
            key
            for key in keys
            if key not in allowed and not key.endswith('num_batches_tracked')
        ]
        if keys:
            names = ', '.join(keys[:9]) + (' ...' if len(keys) > 9 else '')
            complaints.append(f'{len(keys)} weights are {what} ({names})')
    if complaints:
        raise CheckpointError(wrong + ', '.join(complaints) + '.')


def pretrained_cfg(module: nn.Module) -> Optional[Dict]:
    """The ``init_cfg`` of type Pretrained of a module, without its type."""
    cfgs = getattr(module, 'init_cfg', None) or []
    for cfg in [cfgs] if isinstance(cfgs, dict) else cfgs:
        if cfg.get('type') in ('Pretrained', 'mmengine.Pretrained'):
            return {k: v for k, v in cfg.items() if k != 'type'}
    return None


def init_from_checkpoint(module: nn.Module, part: str = '') -> bool:
    """Does what an ``init_cfg`` of type Pretrained asks for.

    ``init_cfg=dict(type='Pretrained', checkpoint=PATH)`` reads CLIP
    checkpoints of every format here, where mmengine's own initialiser knows
    files in our names only and passes over what does not fit. Further keys:
    ``prefix`` (take the weights below it and take it off their names) and
    ``trust_pickle`` (see :func:`read_checkpoint`).

    Args:
        module (nn.Module): A ``HarmoCLIP`` or one of its towers.
        part (str): Prefix of the module's weights within a ``HarmoCLIP``,
            ``'backbone.'`` or ``'text_encoder.'``. Defaults to the whole.

    Returns:
        bool: False if there is no such ``init_cfg``, and nothing was done.

    Raises:
        CheckpointError: If the file cannot be read or does not fit.
    """
    cfg = pretrained_cfg(module)
    if cfg is None:
        return False
    path, trust = cfg['checkpoint'], cfg.get('trust_pickle', False)
    found = read_checkpoint(path, trust, cfg.get('prefix') or '')
    if found.format is None:
        load_matching(module, found.weights, found.path)
    else:
        load_clip_weights(module, found, part)
    print_log(f'{path}: {found.format} weights are loaded.', logger='current')
    if hasattr(module, '_params_init_info'):
        update_init_info(module, f'PretrainedInit: load from {path}')
    module._is_init = True
    return True
