"""Checkpoints that a crash or a full disk cannot spoil."""

import os
import shutil
from contextlib import contextmanager
from pathlib import Path
from typing import Iterator, List, Union

from mmengine.dist import is_main_process
from mmengine.fileio import LocalBackend, register_backend
from mmengine.hooks import CheckpointHook
from mmengine.optim import ZeroRedundancyOptimizer
from mmengine.runner import Runner

from harmoclip_mm.errors import UsageError
from harmoclip_mm.files import PART, replacing
from harmoclip_mm.registry import HOOKS

_BACKEND = 'harmoclip_mm.atomic_local'


class _AtomicLocalBackend(LocalBackend):
    """Local files, put in place at once; what is removed is only noted."""

    def __init__(self) -> None:
        self.doomed: List[str] = []

    def put(self, obj: bytes, filepath: Union[str, Path]) -> None:
        with replacing(filepath) as part:
            super().put(obj, part)

    def remove(self, filepath: str) -> None:
        self.doomed.append(filepath)


register_backend(_BACKEND, _AtomicLocalBackend, force=True)


@HOOKS.register_module()
class AtomicCheckpointHook(CheckpointHook):
    """mmengine's ``CheckpointHook``, safe against crashes and full disks.

    - A checkpoint has its name only once it is complete.
    - Older ones (``max_keep_ckpts``, the former best) are removed after the
      new one is written, not before, so for a moment there is one more.
    - One that cannot be written ends the training with one sentence.
    - An optimizer that is sharded by ``ZeroRedundancyOptimizer`` is saved as
      a whole, where mmengine waits for ever.

    Other storage than local files (``out_dir`` with ``://``, or own
    ``backend_args``) is written as mmengine does.
    """

    def before_train(self, runner: Runner) -> None:
        """Choose the storage, and remove what a killed run left."""
        local = '://' not in str(self.out_dir or runner.work_dir)
        if local and not self.backend_args and not self.file_client_args:
            self.backend_args = dict(backend=_BACKEND)
        super().before_train(runner)
        if local and is_main_process():
            for path in Path(self.out_dir).glob(f'*.pth{PART}'):
                path.unlink()

    def _save_checkpoint_with_step(
        self, runner: Runner, step: int, meta: dict
    ) -> None:
        with self._write_then_remove():
            super()._save_checkpoint_with_step(runner, step, meta)
            optimizer = getattr(runner.optim_wrapper, 'optimizer', None)
            if (
                self.save_optimizer
                and not is_main_process()
                and isinstance(optimizer, ZeroRedundancyOptimizer)
            ):
                # which asks all ranks for their shards, while mmengine's
                # Runner saves on rank 0 alone
                optimizer.state_dict()

    def _save_best_checkpoint(self, runner: Runner, metrics: dict) -> None:
        if not hasattr(self, 'file_backend'):
            return  # an evaluation without a training has nothing to save
        with self._write_then_remove():
            super()._save_best_checkpoint(runner, metrics)

    @contextmanager
    def _write_then_remove(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            free = ''
            if os.path.isdir(self.out_dir):
                size = shutil.disk_usage(self.out_dir).free
                free = f' ({size / 2**20:.0f} MiB free)'
            raise UsageError(
                f'a checkpoint could not be written into {self.out_dir}{free}'
                f': {error.strerror or error}. Earlier checkpoints there are '
                'intact: make room, or set default_hooks.checkpoint.out_dir '
                'to another disk or default_hooks.checkpoint.max_keep_ckpts '
                'to a smaller number, then go on with --resume'
            ) from error
        doomed = getattr(self.file_backend, 'doomed', [])
        best = getattr(self, 'best_ckpt_path_dict', {}).values()
        kept = (self.last_ckpt, getattr(self, 'best_ckpt_path', None), *best)
        while doomed:
            path = doomed.pop()
            if path not in kept:  # else written again under the same name
                os.remove(path)
