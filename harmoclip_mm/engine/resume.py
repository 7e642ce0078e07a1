"""What a training goes on from, and with."""

import logging
import os.path as osp
from pathlib import Path
from typing import Any, Dict, Optional, Tuple

from mmengine.config import Config
from mmengine.logging import print_log
from mmengine.runner import Runner

from harmoclip_mm.errors import CheckpointError, UsageError
from harmoclip_mm.models.checkpoints import load_weights_only

# How far a scheduler has come, in its state beside its settings.
_PROGRESS = (
    'base_values',
    'best',
    'cooldown_counter',
    'last_step',
    'num_bad_epochs',
    'verbose',
)


def setup_resume(cfg: Config, checkpoint: Optional[str] = None) -> None:
    """Let the Runner of a config go on from a checkpoint.

    Args:
        cfg (Config): Config of a training; ``resume`` and ``load_from`` are
            set. Where there is nothing to go on from, ``load_from`` stays and
            the training begins.
        checkpoint (str, optional): The checkpoint. Defaults to None: the
            latest complete one of ``cfg.work_dir``.

    Raises:
        UsageError: If ``checkpoint`` does not exist, or there are checkpoints
            in the work folder and none can be read.
    """
    if checkpoint is None:
        checkpoint = find_latest_checkpoint(cfg.work_dir)
    elif '://' not in checkpoint and not osp.exists(checkpoint):
        raise UsageError(
            f'checkpoint {checkpoint} to resume from does not exist'
        )
    cfg.resume = checkpoint is not None
    if checkpoint is not None:
        cfg.load_from = checkpoint
    else:
        _warn(f'Nothing to resume in {cfg.work_dir}: the training begins')


def find_latest_checkpoint(work_dir: str) -> Optional[str]:
    """Find the latest complete checkpoint that a training can go on from.

    The file ``last_checkpoint`` is believed where what it names can be read.
    Otherwise (a crash while it was written, a folder that was moved) the
    newest readable file with an optimizer is taken.

    Returns:
        str or None: The checkpoint; None if there is none at all.

    Raises:
        UsageError: If there are checkpoints, and none can be read.
    """
    folder, candidates = Path(work_dir), []
    pointer = folder / 'last_checkpoint'
    named = pointer.read_text().strip() if pointer.is_file() else ''
    if '://' in named:
        return named
    if named:
        candidates = [Path(named), folder / Path(named).name]
    folders = {folder, *(path.parent for path in candidates)}
    files = {file for each in folders for file in each.glob('*.pth')}
    candidates += sorted(files, key=lambda path: -path.stat().st_mtime_ns)
    broken: Dict[str, None] = {}  # what is said of them, each once
    for path in filter(Path.is_file, candidates):
        try:
            checkpoint = load_weights_only(str(path), mmap=True)
        except CheckpointError as error:
            broken[str(error)] = None
            continue
        # others, as that of the best score, are whole and no help
        if isinstance(checkpoint, dict) and 'optimizer' in checkpoint:
            if broken:
                _warn(f'Resuming from {path} instead: ' + '; '.join(broken))
            return str(path)
    if broken:
        raise UsageError(
            f'no checkpoint in {work_dir} can be resumed from: '
            + '; '.join(broken)
        )
    return None


def warn_of_old_settings(runner: Runner, checkpoint: dict) -> None:
    """Name settings of the optimizer and its schedules that the config has
    changed: those of the checkpoint are what a resumed training goes on with.

    Args:
        runner (Runner): The Runner, before it takes the optimizer's state.
        checkpoint (dict): What it resumes from.
    """
    optimizer = getattr(runner.optim_wrapper, 'optimizer', None)
    if optimizer is None:
        return  # several optimizers, as a GAN has
    schedulers = runner.param_schedulers or ()
    pairs = [
        ('', _settings(now), _settings(saved))
        for now, saved in zip(
            optimizer.param_groups,
            checkpoint.get('optimizer', {}).get('param_groups', ()),
        )
    ]
    pairs += [
        (f'{type(now).__name__}.', now.state_dict(), saved)
        for now, saved in zip(
            schedulers, checkpoint.get('param_schedulers', ())
        )
    ]
    changed: Dict[str, Tuple[Any, Any]] = {}
    for place, now, saved in pairs:
        for name in now.keys() & saved.keys() - {*_PROGRESS}:
            if not name.startswith('_') and now[name] != saved[name]:
                changed[place + name] = saved[name], now[name]
    if changed:
        _warn(
            'The resumed training goes on with the settings of its '
            'checkpoint, which the config has changed: '
            + '; '.join(
                f'{name} {old}, not {new}'
                for name, (old, new) in sorted(changed.items())
            )
            + '. To train with those of the config, start a new training '
            'with load_from'
        )


def _settings(group: Dict[str, Any]) -> Dict[str, Any]:
    """Settings of a group of parameters, before any schedule."""
    names = group.keys() - {'params'}
    return {
        name: group.get(f'initial_{name}', group[name])
        for name in names
        if not name.startswith('initial_')
    }


def _warn(message: str) -> None:
    print_log(message, logger='current', level=logging.WARNING)
