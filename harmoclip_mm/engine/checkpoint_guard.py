"""Loading checkpoints in the tools: safely, and only where they belong.

mmengine loads with ``strict=False`` and logs what did not fit: a test of a
model with half of its weights missing ends with figures that look real. It
also falls back to full unpickling, which runs code of the file, and knows no
names but our own. Here CLIP checkpoints of every format are read, only
weights are read, and a file that does not fit is an error that says where.
"""

import copy
import logging
from typing import Any, Dict, Optional, Sequence

from mmengine.hooks import Hook
from mmengine.logging import print_log
from mmengine.model import is_model_wrapper
from mmengine.runner import Runner
from mmengine.runner.checkpoint import CheckpointLoader
from torch import nn

from harmoclip_mm.engine.resume import warn_of_old_settings
from harmoclip_mm.errors import CheckpointError
from harmoclip_mm.models.checkpoints import (
    OWN,
    SCHEMES,
    TEACHER,
    Checkpoint,
    check_clip,
    load_matching,
    read_checkpoint,
)

# Where a Runner's checkpoint keeps what is known of the CLIP in it.
_CLIP = 'harmoclip_mm_clip'


def load_checkpoint_file(
    filename: str, map_location: Any = 'cpu'
) -> Dict[str, Any]:
    """Read a checkpoint as mmengine's Runner wants it.

    Args:
        filename (str): File, folder or address; a CLIP of any format, or any
            file of weights.
        map_location (Any): What mmengine passes. Whoever keeps a tensor, as
            an optimizer does, moves it. Defaults to 'cpu'.

    Returns:
        Dict[str, Any]: What the file holds, on the CPU, with its weights in
        our names under ``state_dict``.

    Raises:
        CheckpointError: If the file does not exist, is damaged, or holds
            objects that need code to be run.
    """
    found, checkpoint = read_checkpoint(filename), {}
    if found.format in (None, OWN) and 'state_dict' in (found.container or {}):
        # Copied, since the file is mapped: an optimizer keeps the tensors
        # that it is given, and the training may overwrite the file.
        rest = {k: v for k, v in found.container.items() if k != 'state_dict'}
        checkpoint = copy.deepcopy(rest)
    checkpoint['state_dict'] = found.own_weights
    if found.format is not None:
        checkpoint[_CLIP] = found
    return checkpoint


def use_safe_loading() -> None:
    """Make mmengine read files and addresses by our loader in this process.

    Resuming, ``load_from`` and ``init_cfg`` of type Pretrained all go
    through mmengine's ``CheckpointLoader``.
    """
    CheckpointLoader.register_scheme(
        ['', *SCHEMES], load_checkpoint_file, force=True
    )


class CheckpointGuard(Hook):
    """Refuse a checkpoint that does not fit the model.

    For the tools, which register it by hand; with a priority below that of
    ``EMAHook``, which swaps weights when a checkpoint is loaded.

    Args:
        strict (bool): True: every key and shape must fit, as a test or a
            resumed training needs. False, for ``load_from`` at the start of
            a training: towers must fit, of anything else something must.
            Defaults to True.
        optional (Sequence[str]): Prefixes of weights that may be missing or
            left over even when strict, and are then logged. Defaults to
            none.
    """

    priority = 'LOWEST'

    def __init__(
        self, strict: bool = True, optional: Sequence[str] = ()
    ) -> None:
        self.strict = strict
        self.optional = optional

    def after_load_checkpoint(self, runner: Runner, checkpoint: dict) -> None:
        """Check what was read, before mmengine loads it into the model.

        Raises:
            CheckpointError: If it does not fit.
        """
        source = runner._load_from or 'to resume from'
        if runner._resume:
            if 'optimizer' not in checkpoint:
                raise CheckpointError(
                    f'checkpoint {source} holds weights and no state of a '
                    'training, which cannot be resumed: start a new one from '
                    'it by load_from'
                )
            warn_of_old_settings(runner, checkpoint)
        model = runner.model
        if is_model_wrapper(model):
            model = model.module
        # taken out: no checkpoint that is saved later shall hold it
        clip: Optional[Checkpoint] = checkpoint.pop(_CLIP, None)
        if clip is not None:
            check_clip(model, clip)
        state_dict = checkpoint['state_dict']
        if self.strict:
            load_matching(model, state_dict, source, self.optional)
            if clip is not None:
                _warn_of_other_modes(model, clip, source)
            return
        # A new training has its own start, hence its own teacher.
        for key in [k for k in state_dict if k.startswith(TEACHER)]:
            del state_dict[key]
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


def _warn_of_other_modes(
    model: nn.Module, clip: Checkpoint, source: str
) -> None:
    """Tell what fits in weights but makes another map than in training."""
    trained = clip.towers.get('backbone', {})
    for key in ('dense_mode', 'window_size'):
        own = getattr(getattr(model, 'backbone', None), key, None)
        if key in trained and trained[key] != own:
            print_log(
                f'{source} was trained with {key}={trained[key]!r} of the '
                f'backbone, and is used with {own!r} here: regions will have '
                'other features, but for --cfg-options '
                f'model.backbone.{key}={trained[key]}',
                logger='current',
                level=logging.WARNING,
            )
