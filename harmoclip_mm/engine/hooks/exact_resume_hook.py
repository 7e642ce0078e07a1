"""A resumed training equals an uninterrupted one."""

from typing import Any, Dict, Optional

from mmengine.dist import get_rank, get_world_size
from mmengine.hooks import Hook
from mmengine.model import is_model_wrapper
from mmengine.optim import OptimWrapper
from mmengine.runner import EpochBasedTrainLoop, Runner
from torch import nn

from harmoclip_mm.datasets.samplers import seed_generators
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
    - Gradients accumulated so far, where the checkpoint is written between
      two steps of an optimizer wrapper with ``accumulative_counts``. Only in
      a single process: other ranks have gradients of their own.

    The generators of the main process (dropout, drop path, transforms of
    whole batches) need no place in the checkpoint: before each iteration
    they are seeded with (seed, iteration, rank).
    """

    priority = 'VERY_HIGH'

    def __init__(self) -> None:
        self._epoch, self._batches = 0, 0
        self._warned = False

    def before_train_iter(
        self,
        runner: Runner,
        batch_idx: int,
        data_batch: Optional[dict] = None,
    ) -> None:
        """Seed the generators, and note the position.

        Args:
            runner (Runner): The runner of the training.
            batch_idx (int): Index of the batch in its epoch.
            data_batch (dict, optional): The batch. Defaults to None.
        """
        self._epoch, self._batches = runner.epoch, batch_idx + 1
        key = (runner.seed, runner.iter, get_rank())
        seed_generators(key, devices=True)

    def before_save_checkpoint(self, runner: Runner, checkpoint: dict) -> None:
        """Add position and pending gradients.

        Args:
            runner (Runner): The runner of the training.
            checkpoint (dict): The checkpoint, about to be written.
        """
        same_epoch = checkpoint['meta']['epoch'] == self._epoch
        checkpoint[_KEY] = dict(
            _data_order(runner),
            batches=self._batches if same_epoch else 0,
        )
        optim_wrapper = runner.optim_wrapper
        if (
            'optimizer' not in checkpoint
            or not isinstance(optim_wrapper, OptimWrapper)
            or optim_wrapper.should_update()
        ):
            return
        if get_world_size() == 1:
            checkpoint[_KEY]['gradients'] = {
                name: weight.grad.cpu()
                for name, weight in _bare(runner.model).named_parameters()
                if weight.grad is not None
            }
        elif not self._warned:
            self._warned = True
            runner.logger.warning(
                'This checkpoint lies between two steps of the optimizer: a '
                'training resumed from it lacks the gradients accumulated '
                'since the last step. With several processes, choose an '
                'interval of checkpoints that is a multiple of '
                'accumulative_counts.'
            )

    def after_load_checkpoint(self, runner: Runner, checkpoint: dict) -> None:
        """Restore position and gradients when a training is resumed.

        Args:
            runner (Runner): The runner of the training.
            checkpoint (dict): The checkpoint, as read.

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
        if saved['seed'] is not None:
            runner.train_dataloader.batch_sampler.sampler.seed = saved['seed']
        gradients = saved.get('gradients', {})
        for name, weight in _bare(runner.model).named_parameters():
            if name in gradients:
                weight.grad = gradients[name].to(weight.device)
        if gradients:
            runner.logger.info(
                'The gradients accumulated since the last step of the '
                'optimizer are restored'
            )

    @staticmethod
    def _set_position(runner: Runner, saved: Dict[str, Any]) -> None:
        now, loop = _data_order(runner), runner.train_loop
        changed = [
            f'{name.replace("_", " ")} {saved[name]} then, {now[name]} now'
            for name in ('data_set_size', 'global_batch')
            if saved[name] != now[name]
        ]
        batches = saved['batches']
        epochs = isinstance(loop, EpochBasedTrainLoop)
        if epochs and 0 < batches < saved['iters_per_epoch'] and changed:
            raise UsageError(
                f'the checkpoint was written after {batches} batches of its '
                f'epoch, and the rest of that epoch is no longer the same: '
                f'{"; ".join(changed)}. Resume with the same (global_batch is '
                'batch_size of train_dataloader times processes), or from a '
                'checkpoint of the end of an epoch'
            )
        if changed:
            runner.logger.warning(
                'The training goes on with other data or batches, while '
                'schedules count the iterations as before: '
                + '; '.join(changed)
            )
        if not epochs:
            return  # mmengine's loop finds its position by itself
        if isinstance(loop, ResumableEpochTrainLoop):
            finished = batches >= saved['iters_per_epoch']
            loop.start_batch = len(loop.dataloader) if finished else batches
        elif batches:
            runner.logger.warning(
                f'The {batches} batches of the epoch that were trained come '
                "again; train_cfg.type='ResumableEpochTrainLoop' goes on "
                'after them.'
            )


def _data_order(runner: Runner) -> Dict[str, Any]:
    """What the order of the data depends on."""
    loader = runner.train_dataloader
    batches = loader.batch_sampler
    sampler = getattr(batches, 'sampler', None)
    return dict(
        seed=getattr(sampler, 'seed', None),
        data_set_size=len(loader.dataset),
        global_batch=getattr(batches, 'batch_size', 1) * get_world_size(),
        iters_per_epoch=len(loader),
    )


def _bare(model: nn.Module) -> nn.Module:
    """The model without its distributed wrapper."""
    return model.module if is_model_wrapper(model) else model
