"""One line of the log about bad images, boxes and phrases."""

from collections import defaultdict
from typing import Dict, Optional, Sequence

import torch
from mmengine.dist import all_reduce
from mmengine.hooks import Hook
from mmengine.runner import EpochBasedTrainLoop, Runner

from harmoclip_mm.datasets.counters import collect_counters
from harmoclip_mm.registry import HOOKS

__all__ = ['DataHealthHook']


@HOOKS.register_module()
class DataHealthHook(Hook):
    """Log what the data made the pipeline drop or replace.

    After each epoch, at the end of iteration-based training, and after a
    test, one line sums up the shared counters of the data set and its
    transforms over all workers and all ranks: images replaced, boxes and
    phrases dropped, regions that a protocol leaves out.

    Workers load ahead of the training, so the numbers of an iteration-based
    run include what was prefetched.
    """

    priority = 'LOW'

    def __init__(self) -> None:
        self._reported: Dict[str, Dict[str, int]] = defaultdict(dict)

    def after_train_epoch(self, runner: Runner) -> None:
        """Log the counts since the last time.

        Iteration-based loops of mmengine call this once, at their end.

        Args:
            runner (Runner): The runner of the training.
        """
        if isinstance(runner.train_loop, EpochBasedTrainLoop):
            self._report(runner, 'train', f'epoch {runner.epoch + 1}')
        else:
            self._report(runner, 'train', f'{runner.iter} iterations')

    def after_test_epoch(
        self, runner: Runner, metrics: Optional[Dict[str, float]] = None
    ) -> None:
        """Log the counts of the test data.

        Args:
            runner (Runner): The runner of the test.
            metrics (Dict[str, float], optional): Not used.
        """
        self._report(runner, 'test', 'test')

    def _report(self, runner: Runner, split: str, when: str) -> None:
        loader = getattr(runner, f'{split}_dataloader')
        found = collect_counters(loader.dataset)
        totals = dict(
            zip(found, _sum_over_ranks([n for n, _ in found.values()]))
        )
        parts = []
        for name, total in totals.items():
            new = total - self._reported[split].get(name, 0)
            if new:
                parts.append(f'{new} {found[name][1]}')
        self._reported[split] = totals
        runner.logger.info(
            f'Data health, {when}: '
            + (', '.join(parts) if parts else 'nothing replaced or dropped')
        )


def _sum_over_ranks(counts: Sequence[int]) -> Sequence[int]:
    """Sums over ranks; the order of the counters is that of the config, and
    so the same everywhere."""
    tensor = torch.tensor(counts, dtype=torch.int64)
    if tensor.numel():
        all_reduce(tensor)
    return tensor.tolist()
