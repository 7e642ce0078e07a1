"""One line of the log about bad images, boxes and phrases."""

from typing import Dict, Optional

import torch
from mmengine.dist import all_reduce
from mmengine.hooks import Hook
from mmengine.runner import EpochBasedTrainLoop, Runner
from torch import Tensor
from torch.utils.data import DataLoader

from harmoclip_mm.datasets.counters import collect_counters
from harmoclip_mm.registry import HOOKS


@HOOKS.register_module()
class DataHealthHook(Hook):
    """Log what the data made the pipeline drop or replace.

    After each epoch, at the end of iteration-based training, and after a
    test, one line sums up the shared counters of the data set and its
    transforms over all workers and all ranks. Workers load ahead, so the
    numbers of an iteration-based run include what was prefetched.
    """

    priority = 'LOW'

    def __init__(self) -> None:
        self._reported: Dict[DataLoader, Tensor] = {}

    def after_train_epoch(self, runner: Runner) -> None:
        """Log the counts of the epoch; iteration-based loops end with it."""
        when = f'{runner.iter} iterations'
        if isinstance(runner.train_loop, EpochBasedTrainLoop):
            when = f'epoch {runner.epoch + 1}'
        self._report(runner, runner.train_dataloader, when)

    def after_test_epoch(
        self, runner: Runner, metrics: Optional[Dict[str, float]] = None
    ) -> None:
        """Log the counts of the test data."""
        self._report(runner, runner.test_dataloader, 'test')

    def _report(self, runner: Runner, loader: DataLoader, when: str) -> None:
        # in the order of the config, and so the same on all ranks
        found = collect_counters(loader.dataset)
        totals = torch.tensor([count for count, _ in found.values()])
        if found:
            all_reduce(totals)
        new = totals - self._reported.get(loader, 0)
        self._reported[loader] = totals
        counts = ', '.join(
            f'{count} {description}'
            for count, (_, description) in zip(new, found.values())
            if count
        )
        runner.logger.info(
            f'Data health, {when}: {counts or "the pipeline changed nothing"}'
        )
