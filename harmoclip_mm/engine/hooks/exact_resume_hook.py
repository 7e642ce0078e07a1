"""A resumed training equals an uninterrupted one."""

from typing import Any, Dict, Iterator, Optional, Tuple

from mmengine.dist import get_rank, get_world_size
from mmengine.hooks import Hook
from mmengine.model import is_model_wrapper
from mmengine.runner import IterBasedTrainLoop, Runner
from torch.nn import Parameter

from harmoclip_mm.datasets.samplers import (
    ResumableInfiniteSampler,
    ResumableSampler,
    seed_generators,
)
from harmoclip_mm.errors import UsageError
from harmoclip_mm.registry import HOOKS

from ..loops import ResumableEpochTrainLoop

__all__ = ['ExactResumeHook']

# Where a checkpoint keeps what mmengine's does not hold.
_KEY = 'exact_resume'


@HOOKS.register_module()
class ExactResumeHook(Hook):
    """Save and restore what mmengine's checkpoints leave out.

    - The position in the epoch, for :class:`ResumableEpochTrainLoop`, with
      the seed of the sampler and the sizes it depends on.
    - Gradients accumulated since the last step of the optimizer, in a single
      process: other ranks have gradients of their own.

    The generators of the main process (dropout, drop path, transforms of
    whole batches) need no place in the checkpoint: before each iteration
    they are seeded with (seed, iteration, rank).
    """

    priority = 'VERY_HIGH'

    def __init__(self) -> None:
        self._epoch, self._batches = 0, 0

    def before_train(self, runner: Runner) -> None:
        """Refuse parts that do not find back to where they were."""
        parts = runner.train_loop, _sampler(runner)
        kinds = (
            (ResumableEpochTrainLoop, IterBasedTrainLoop),
            (ResumableSampler, ResumableInfiniteSampler),
        )
        if not all(map(isinstance, parts, kinds)):
            raise UsageError(
                'ExactResumeHook needs the loop and the sampler of configs/'
                '_base_/runtime_exact.py, not '
                + ' and '.join(type(part).__name__ for part in parts)
            )

    def before_train_iter(
        self,
        runner: Runner,
        batch_idx: int,
        data_batch: Optional[dict] = None,
    ) -> None:
        """Seed the generators, and note the position."""
        self._epoch, self._batches = runner.epoch, batch_idx + 1
        key = (runner.seed, runner.iter, get_rank())
        seed_generators(key, devices=True)

    def before_save_checkpoint(self, runner: Runner, checkpoint: dict) -> None:
        """Add position and pending gradients."""
        same_epoch = checkpoint['meta']['epoch'] == self._epoch
        checkpoint[_KEY] = dict(
            _data_order(runner), batches=self._batches if same_epoch else 0
        )
        gradients = {
            name: weight.grad.cpu()
            for name, weight in _named_parameters(runner)
            if weight.grad is not None  # each step of the optimizer ends so
        }
        if 'optimizer' not in checkpoint or not gradients:
            return
        if get_world_size() == 1:
            checkpoint[_KEY]['gradients'] = gradients
        else:
            runner.logger.warning(
                'A training resumed from this checkpoint lacks the gradients '
                'accumulated since the last step of the optimizer. With '
                'several processes, choose an interval of checkpoints that '
                'is a multiple of accumulative_counts.'
            )

    def after_load_checkpoint(self, runner: Runner, checkpoint: dict) -> None:
        """Restore position and gradients when a training is resumed.

        Raises:
            UsageError: If it was written in mid-epoch with another global
                batch or for data of another size.
        """
        if not runner._resume:
            return
        saved = checkpoint.get(_KEY)
        if saved is None:
            runner.logger.warning(
                'The checkpoint was written without ExactResumeHook: its '
                'epoch starts anew, and randomness differs from that of an '
                'uninterrupted training.'
            )
            return
        self._set_position(runner, saved)
        _sampler(runner).seed = saved['seed']
        gradients = saved.get('gradients', {})
        for name, weight in _named_parameters(runner):
            if name in gradients:
                weight.grad = gradients[name].to(weight.device)

    @staticmethod
    def _set_position(runner: Runner, saved: Dict[str, Any]) -> None:
        now, batches = _data_order(runner), saved['batches']
        changed = '; '.join(
            f'{name.replace("_", " ")} {saved[name]} then, {now[name]} now'
            for name in ('data_set_size', 'global_batch')
            if saved[name] != now[name]
        )
        epochs = isinstance(runner.train_loop, ResumableEpochTrainLoop)
        finished = batches >= saved['iters_per_epoch']
        if changed and epochs and batches and not finished:
            raise UsageError(
                f'the checkpoint was written after {batches} batches of its '
                f'epoch, and the rest of that epoch is no longer the same: '
                f'{changed}. Resume with the same (global_batch is '
                'batch_size of train_dataloader times processes), or from a '
                'checkpoint of the end of an epoch'
            )
        if changed:
            runner.logger.warning(
                'The training goes on with other data or batches, while '
                f'schedules count the iterations as before: {changed}'
            )
        if epochs:  # mmengine's other loop finds its position by itself
            runner.train_loop.start_batch = (
                now['iters_per_epoch'] if finished else batches
            )


def _sampler(runner: Runner) -> Any:
    return getattr(runner.train_dataloader.batch_sampler, 'sampler', None)


def _data_order(runner: Runner) -> Dict[str, Any]:
    """What the order of the data depends on."""
    loader = runner.train_dataloader
    batch_size = getattr(loader.batch_sampler, 'batch_size', 1)
    return dict(
        seed=_sampler(runner).seed,
        data_set_size=len(loader.dataset),
        global_batch=batch_size * get_world_size(),
        iters_per_epoch=len(loader),
    )


def _named_parameters(runner: Runner) -> Iterator[Tuple[str, Parameter]]:
    model = runner.model
    model = model.module if is_model_wrapper(model) else model
    return model.named_parameters()
