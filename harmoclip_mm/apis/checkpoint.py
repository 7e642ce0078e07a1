"""Loading checkpoints safely and only into the model they belong to.

mmengine loads with ``strict=False`` and logs what did not fit: a test of a
model with half of its weights missing ends with figures that look real. It
also falls back to full unpickling, which runs code of the file. Here a file
that does not fit is an error that says where, and only weights are read.
"""

import os.path as osp
import pickle
import re
from typing import Any, List, Mapping, Optional, Tuple

import numpy as np
import torch
from mmengine.hooks import Hook
from mmengine.logging import HistoryBuffer
from mmengine.model import is_model_wrapper
from mmengine.runner import Runner
from mmengine.runner.checkpoint import CheckpointLoader
from mmengine.runner.checkpoint import load_from_local as mmengine_load
from torch import nn

from .errors import UsageError

# torch >= 2.6 can allow names; before, a Runner's checkpoint (which holds log
# buffers) can only be read by full unpickling, and mmengine does that
_CAN_ALLOW = hasattr(torch.serialization, 'get_unsafe_globals_in_checkpoint')


class CheckpointError(UsageError):
    """A checkpoint that cannot be read or is of another model."""


def _history_method(buffer: HistoryBuffer, name: str) -> Any:
    """``getattr`` for what mmengine's log buffers pickle, and no more."""
    ours = buffer is HistoryBuffer or isinstance(buffer, HistoryBuffer)
    if ours and name in ('current', 'max', 'mean', 'min'):
        return getattr(buffer, name)
    raise pickle.UnpicklingError(f'attribute {name} is not allowed')


def _allowed_globals() -> List[Any]:
    """What a checkpoint of mmengine's Runner holds beside tensors."""
    multiarray = getattr(np, '_core', None) or np.core
    multiarray = multiarray.multiarray
    allowed = [
        HistoryBuffer,
        (_history_method, 'builtins.getattr'),
        np.ndarray,
        np.dtype,
    ]
    for core in ('numpy.core', 'numpy._core'):  # written by numpy 1 or 2
        allowed += [
            (multiarray._reconstruct, f'{core}.multiarray._reconstruct'),
            (multiarray.scalar, f'{core}.multiarray.scalar'),
        ]
    kinds = 'bool uint8 int32 int64 uint32 float16 float32 float64 str'
    return allowed + [type(np.dtype(kind)) for kind in kinds.split()]


def load_from_local_weights_only(
    filename: str, map_location: Any = 'cpu'
) -> Any:
    """Read a checkpoint file without running code of it.

    Reads plain state dicts and checkpoints of mmengine's Runner. (With torch
    before 2.6 mmengine's own loader reads the file.)

    Args:
        filename (str): The file.
        map_location (Any): As in :func:`torch.load`. Defaults to 'cpu'.

    Returns:
        Any: What the file holds, usually a dict.

    Raises:
        CheckpointError: If the file does not exist, is damaged, or holds
            objects that need code to be run.
    """
    filename = osp.expanduser(filename)
    if not osp.isfile(filename):
        raise CheckpointError(f'checkpoint {filename} does not exist')
    if not _CAN_ALLOW:
        return mmengine_load(filename, map_location)
    try:
        with torch.serialization.safe_globals(_allowed_globals()):
            return torch.load(
                filename, map_location=map_location, weights_only=True
            )
    except pickle.UnpicklingError as error:
        found = re.findall(r'GLOBAL (\S+)', str(error))
        raise CheckpointError(
            f'checkpoint {filename} is damaged or holds more than weights'
            + (f' ({found[0]})' if found else '')
            + '. Loading that would run code of the file. If you trust its '
            'source, extract the weights once: python -c "import torch; '
            f"torch.save(torch.load('{filename}', weights_only=False)"
            "['state_dict'], 'weights.pth')\""
        ) from error
    except (RuntimeError, EOFError) as error:
        reason = str(error) or 'the file ends too early'
        raise CheckpointError(
            f'checkpoint {filename} cannot be read, it may be damaged or '
            f'incomplete: {reason.splitlines()[0]}'
        ) from error


def use_safe_loading() -> None:
    """Make mmengine read local files by our loader in this process.

    Resuming, ``load_from`` and ``init_cfg`` of type Pretrained all go
    through mmengine's ``CheckpointLoader``.
    """
    CheckpointLoader.register_scheme(
        '', load_from_local_weights_only, force=True
    )


def load_matching(
    model: nn.Module, state_dict: Mapping[str, torch.Tensor], source: str
) -> None:
    """Load a state dict that must fit the model completely.

    Hooks of the model take part, e.g. those that resize position
    embeddings, so what they make fit does fit.

    Args:
        model (nn.Module): The model.
        state_dict (Mapping[str, Tensor]): The weights.
        source (str): Name of the file, for the message.

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


class CheckpointGuard(Hook):
    """Refuse a checkpoint that does not fit the model.

    For the tools, which register it by hand; with a priority below that of
    ``EMAHook``, which swaps weights when a checkpoint is loaded.

    Args:
        strict (bool): True: every key and shape must fit, as a test or a
            resumed training needs. False: something must fit, for
            ``load_from`` at the start of a training. Defaults to True.
        source (str, optional): Name of the file for messages. Defaults to
            None: ``load_from`` of the Runner.
    """

    priority = 'LOWEST'

    def __init__(
        self, strict: bool = True, source: Optional[str] = None
    ) -> None:
        self.strict = strict
        self.source = source

    def after_load_checkpoint(self, runner: Runner, checkpoint: dict) -> None:
        """Check what was read, before mmengine loads it into the model.

        Args:
            runner (Runner): The Runner.
            checkpoint (dict): A state dict, or a dict that holds one under
                ``state_dict``.

        Raises:
            CheckpointError: If it does not fit.
        """
        source = self.source or runner._load_from or 'to resume from'
        model = runner.model
        if is_model_wrapper(model):
            model = model.module
        if not isinstance(checkpoint, dict):
            raise CheckpointError(f'checkpoint {source} holds no state dict')
        state_dict = checkpoint.get('state_dict', checkpoint)
        # the revision that mmengine makes by default
        state_dict = {
            re.sub(r'^module\.', '', key): value
            for key, value in state_dict.items()
        }
        if self.strict:
            load_matching(model, state_dict, source)
            return
        own = model.state_dict()
        if not any(
            key in own and getattr(value, 'shape', None) == own[key].shape
            for key, value in state_dict.items()
        ):
            raise CheckpointError(
                f'nothing in checkpoint {source} fits the model: its keys '
                f'are like {next(iter(state_dict), "(none)")}, those of the '
                f'model like {next(iter(own), "(none)")}'
            )
