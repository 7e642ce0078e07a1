"""Loading weights into a model, so that nothing is lost silently."""

import logging
import re
from typing import Dict, List, Mapping, Optional, Sequence, Tuple

import torch
from mmengine.logging import print_log
from mmengine.model import update_init_info
from torch import nn

from harmoclip_mm.errors import CheckpointError

from .activation import ACT_CFGS, activation_of
from .clip_checkpoint import CLIPCheckpoint, log_names, recognise
from .hub import fetch, is_remote
from .key_maps import OWN
from .reading import read_checkpoint

# A head's own temperature is of no use once training is over, and a CLIP
# from elsewhere has none.
HEADS = ('heads.',)
# The copy of the vision tower that some methods train against.
TEACHER = 'teacher.'


def load_matching(
    model: nn.Module,
    state_dict: Mapping[str, torch.Tensor],
    source: str,
    optional: Sequence[str] = (),
) -> None:
    """Load a state dict that must fit the model completely.

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
    reshaped: List[Tuple[str, ...]] = []
    try:
        keys = model.load_state_dict(state_dict, strict=False)
        missing, unexpected = keys.missing_keys, keys.unexpected_keys
    except RuntimeError as error:  # torch's way to report shapes
        reshaped = re.findall(
            r'size mismatch for (\S+): .*?shape (.*?) from checkpoint, '
            r'the shape in current model is (.*?)\.$',
            str(error),
            flags=re.MULTILINE,
        )
        if not reshaped:
            raise
        own = model.state_dict()
        missing = [key for key in own if key not in state_dict]
        unexpected = [key for key in state_dict if key not in own]
    allowed = tuple(optional)
    log_names(
        'left as initialised, since the file lacks them',
        [key for key in missing if key.startswith(allowed)],
        source,
    )
    log_names(
        'not used',
        [key for key in unexpected if key.startswith(allowed)],
        source,
    )
    missing = [key for key in missing if not key.startswith(allowed)]
    unexpected = [key for key in unexpected if not key.startswith(allowed)]
    # buffers that old checkpoints of BatchNorm lack
    missing = [k for k in missing if not k.endswith('num_batches_tracked')]
    lines = []
    if missing:
        lines.append(_some('in the model but not in the file', missing))
    if unexpected:
        lines.append(_some('in the file but not in the model', unexpected))
    if reshaped:
        shapes = [
            f'{key} {_shape(theirs)} in the file, {_shape(ours)} in the model'
            for key, theirs, ours in reshaped
        ]
        lines.append(_some('of another shape', shapes))
    if lines:
        raise CheckpointError(
            f'checkpoint {source} is of another model than the config '
            'builds. Use the config it was trained with.\n' + '\n'.join(lines)
        )


def _shape(size: str) -> str:
    return size.replace('torch.Size([', '(').replace('])', ')')


def _some(what: str, keys: List[str], limit: int = 10) -> str:
    shown = [f'    {key}' for key in keys[:limit]]
    if len(keys) > limit:
        shown.append(f'    ... and {len(keys) - limit} more')
    return '\n'.join([f'  {len(keys)} {what}:', *shown])


def check_activation(model: nn.Module, checkpoint: CLIPCheckpoint) -> None:
    """Refuses weights of QuickGELU in a model of GELU, and the reverse.

    Where the file does not say for certain, the log says what is presumed.

    Args:
        model (nn.Module): A ``HarmoCLIP`` or one of its towers.
        checkpoint (CLIPCheckpoint): The weights.

    Raises:
        CheckpointError: If the activations are known to differ.
    """
    activation, source = checkpoint.activation, checkpoint.path
    if checkpoint.form.name == OWN and not activation.certain:
        return  # weights alone: the model's config is all there is to go by
    for name, wanted in (
        ('backbone', activation.vision),
        ('text_encoder', activation.text),
    ):
        tower = getattr(model, name, None)
        if tower is None or type(tower).__name__ == 'HarmoCLIPEVA02':
            continue  # EVA-02's vision tower has SwiGLU
        built = activation_of(tower)
        if built == wanted:
            continue
        remedy = (
            f'set act_cfg=dict(type={ACT_CFGS[wanted]["type"]!r}) in the '
            f'{name} of the config'
        )
        if activation.certain:
            raise CheckpointError(
                f'checkpoint {source} was trained with {wanted} '
                f'({activation.reason}), but the {name} is built with '
                f'{built}, which gives wrong features: {remedy}.'
            )
        print_log(
            f'{source} may need {wanted} ({activation.reason}), but the '
            f'{name} is built with {built}: if so, {remedy}.',
            logger='current',
            level=logging.WARNING,
        )


def load_clip_weights(model: nn.Module, checkpoint: CLIPCheckpoint) -> None:
    """Copies the weights of both towers into a ``HarmoCLIP``.

    Args:
        model (nn.Module): The model.
        checkpoint (CLIPCheckpoint): The weights. What the heads of a
            training lack or have left over is logged.

    Raises:
        CheckpointError: If towers, temperature or activation do not fit.
    """
    checkpoint.check_complete()
    check_activation(model, checkpoint)
    load_matching(model, checkpoint.state_dict, checkpoint.path, HEADS)


def pretrained_cfg(module: nn.Module) -> Optional[Dict]:
    """Finds the ``init_cfg`` of type Pretrained of a module.

    Args:
        module (nn.Module): A module with an ``init_cfg``.

    Returns:
        dict, optional: It, without its type.
    """
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
    ``prefix`` (take the weights below it and take it off their names),
    ``activation`` and ``trust_pickle`` (see :func:`read_clip`).

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
    path = cfg['checkpoint']
    raw = read_checkpoint(
        fetch(path) if is_remote(path) else path,
        cfg.get('trust_pickle', False),
    )
    prefix = cfg.get('prefix')
    if prefix:
        prefix = prefix.rstrip('.') + '.'
        raw = raw._replace(
            state_dict={
                name[len(prefix) :]: value
                for name, value in raw.state_dict.items()
                if name.startswith(prefix)
            }
        )
    checkpoint = recognise(raw, cfg.get('activation'))
    if checkpoint is None:
        # a file of this module alone, or one that load_matching will refuse
        load_matching(module, raw.state_dict, raw.path)
    elif part:
        checkpoint.check_complete(part)
        _check_part(module, part, checkpoint)
        state_dict = {
            name[len(part) :]: value
            for name, value in checkpoint.state_dict.items()
            if name.startswith(part)
        }
        load_matching(module, state_dict, raw.path)
    else:
        load_clip_weights(module, checkpoint)
    if checkpoint is not None:
        print_log(checkpoint.describe(), logger='current')
    if hasattr(module, '_params_init_info'):
        update_init_info(module, f'PretrainedInit: load from {path}')
    module._is_init = True
    return True


def _check_part(
    module: nn.Module, part: str, checkpoint: CLIPCheckpoint
) -> None:
    holder = nn.Module()
    holder.add_module(part.rstrip('.'), module)
    check_activation(holder, checkpoint)
