"""A resumed training equals an uninterrupted one."""

from itertools import islice
from typing import Any, Dict, Iterator, Optional, Tuple

from mmengine.dataset import ConcatDataset, RepeatDataset
from mmengine.dist import get_rank, get_world_size
from mmengine.hooks import Hook
from mmengine.model import is_model_wrapper
from mmengine.runner import EpochBasedTrainLoop, IterBasedTrainLoop, Runner
from torch.nn import Parameter
from torch.utils.data import BatchSampler, DataLoader

from harmoclip_mm.datasets.base import BaseImageTextDataset
from harmoclip_mm.datasets.samplers import (
    ResumableInfiniteSampler,
    ResumableSampler,
)
from harmoclip_mm.datasets.seeding import SeededDataset, seed_generators
from harmoclip_mm.errors import UsageError
from harmoclip_mm.registry import HOOKS, LOOPS

# Where a checkpoint keeps what mmengine's does not hold.
_KEY = 'exact_resume'


@LOOPS.register_module()
class ResumableEpochTrainLoop(EpochBasedTrainLoop):
    """mmengine's ``EpochBasedTrainLoop``, able to start in mid-epoch.

    Batches left out are not loaded, unless a ``batch_sampler`` other than
    torch's makes them: then they are loaded and thrown away.
    """

    # Of the next epoch; ExactResumeHook sets it.
    start_batch = 0

    def run_epoch(self) -> None:
        """Run one epoch, from ``start_batch`` on."""
        self.runner.call_hook('before_train_epoch')
        self.runner.model.train()
        start, self.start_batch = self.start_batch, 0
        batches, batch_sampler = self.dataloader, self.dataloader.batch_sampler
        if start:
            number, last = self.epoch + 1, len(self.dataloader)
            self.runner.logger.info(
                f'Epoch {number} goes on at batch {start + 1} of {last}'
                if start < last
                else f'Epoch {number} was complete'
            )
            if type(batch_sampler) is BatchSampler:
                batch_sampler.sampler.start_at(
                    start * batch_sampler.batch_size
                )
            else:
                batches = islice(batches, start, None)
        for batch_idx, batch in enumerate(batches, start):
            self.run_iter(batch_idx, batch)
        self.runner.call_hook('after_train_epoch')
        self._epoch += 1


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
        wrong = find_inexact(type(runner.train_loop), runner.train_dataloader)
        if wrong:
            raise UsageError(
                f'with {wrong} a training is not resumed exactly: '
                'ExactResumeHook needs the loop and the sampler of configs/'
                '_base_/runtime_exact.py, and data sets of other libraries, '
                'wrappers included, within a SeededDataset'
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
                batch or for data of another size, or as of
                :meth:`before_train`.
        """
        if not runner._resume:
            return
        self.before_train(runner)  # what follows asks those parts
        saved = checkpoint.get(_KEY)
        if saved is None:
            runner.logger.warning(
                'The checkpoint was written without ExactResumeHook: its '
                'epoch starts anew, and randomness differs from that of an '
                'uninterrupted training.'
            )
            return
        now, batches = _data_order(runner), saved['batches']
        changed = '; '.join(
            f'{name.replace("_", " ")} {saved.get(name)} then, {now[name]} now'
            for name in ('data_set_size', 'global_batch', 'shares')
            if saved.get(name) != now[name]  # older checkpoints have no shares
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
        _sampler(runner.train_dataloader).seed = saved['seed']
        gradients = saved.get('gradients', {})
        for name, weight in _named_parameters(runner):
            if name in gradients:
                weight.grad = gradients[name].to(weight.device)


def find_inexact(loop: type, loader: DataLoader) -> str:
    """Find parts of a training that do not find back to where they were.

    Returns:
        str: Names of the types of such parts; empty if there are none.
    """
    wrong = []
    if not issubclass(loop, (ResumableEpochTrainLoop, IterBasedTrainLoop)):
        wrong.append(loop)
    samplers = ResumableSampler, ResumableInfiniteSampler
    if not isinstance(_sampler(loader), samplers):
        wrong.append(type(_sampler(loader)))
    wrong += {
        type(dataset)
        for dataset in _below_wrappers(loader.dataset)
        if not isinstance(dataset, (BaseImageTextDataset, SeededDataset))
    }
    return ', '.join(sorted(each.__name__ for each in wrong))


def _below_wrappers(dataset: Any) -> Iterator[Any]:
    """Data sets that have to seed themselves: below wrappers that pass on
    the key of an index. Others, as mmdet's ``ClassBalancedDataset``, lose it.
    """
    if isinstance(dataset, ConcatDataset):
        for each in dataset.datasets:
            yield from _below_wrappers(each)
    elif isinstance(dataset, RepeatDataset):
        yield from _below_wrappers(dataset.dataset)
    else:
        yield dataset


def _sampler(loader: DataLoader) -> Any:
    return getattr(loader.batch_sampler, 'sampler', None)


def _data_order(runner: Runner) -> Dict[str, Any]:
    """What the order of the data depends on."""
    loader = runner.train_dataloader
    batch_size = getattr(loader.batch_sampler, 'batch_size', 1)
    mixture = _sampler(loader).mixture
    return dict(
        shares=mixture and mixture.counts,
        seed=_sampler(loader).seed,
        data_set_size=mixture.sizes if mixture else len(loader.dataset),
        global_batch=batch_size * get_world_size(),
        iters_per_epoch=len(loader),
    )


def _named_parameters(runner: Runner) -> Iterator[Tuple[str, Parameter]]:
    model = runner.model
    model = model.module if is_model_wrapper(model) else model
    return model.named_parameters()
