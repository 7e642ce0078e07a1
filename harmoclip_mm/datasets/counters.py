"""Counts that data-loader workers make and the main process reads."""

from typing import Dict, Iterator, Sequence, Tuple

import torch
from torch import Tensor
from torch.utils.data import get_worker_info

__all__ = ['SharedCounters', 'collect_counters', 'iter_counters']


class SharedCounters:
    """Named counts in memory that data-loader workers share.

    An object that a worker changes is a copy, so a plain attribute would
    always read zero in the main process. The counts live in a shared tensor,
    which survives both ``fork`` and the pickling of ``spawn``. Each worker
    writes a row of its own, so no lock is needed.

    Args:
        **descriptions (str): Name of each count and what a reader of the log
            should see after the number, e.g. ``bad_images='bad images
            replaced'``.
    """

    _ROWS = 128  # the main process and up to 127 workers

    def __init__(self, **descriptions: str) -> None:
        self.descriptions = descriptions
        self._columns = {name: i for i, name in enumerate(descriptions)}
        self._counts: Tensor = torch.zeros(
            (self._ROWS, len(descriptions)), dtype=torch.int64
        ).share_memory_()

    def add(self, name: str, number: int = 1) -> None:
        """Count ``number`` more of ``name``.

        Args:
            name (str): One of the names given at construction.
            number (int): How many to add; 0 is allowed.
        """
        if number:
            info = get_worker_info()
            row = 0 if info is None else 1 + info.id % (self._ROWS - 1)
            self._counts[row, self._columns[name]] += int(number)

    def totals(self) -> Dict[str, int]:
        """Sums over all processes of this rank.

        Returns:
            dict[str, int]: Name to count, in the order of construction.
        """
        return dict(zip(self._columns, self._counts.sum(0).tolist()))

    def __repr__(self) -> str:
        return f'{type(self).__name__}({self.totals()})'


def iter_counters(dataset) -> Iterator[SharedCounters]:
    """Find the counters of a dataset, of what it wraps and of its transforms.

    Args:
        dataset: A dataset, a wrapper with ``dataset`` or ``datasets``, or a
            transform, which may hold further ``transforms``. Whatever has a
            ``counters`` attribute of type :class:`SharedCounters` is found.

    Yields:
        SharedCounters: Each one once, in the order of the data.
    """
    seen = set()
    stack = [dataset]
    while stack:
        node = stack.pop(0)
        if node is None or id(node) in seen:
            continue
        seen.add(id(node))
        if isinstance(node, (list, tuple)):
            stack = [*node, *stack]
            continue
        counters = getattr(node, 'counters', None)
        if isinstance(counters, SharedCounters) and id(counters) not in seen:
            seen.add(id(counters))
            yield counters
        children: Sequence[str] = (
            'dataset',
            'datasets',
            'pipeline',
            'transforms',
        )
        stack = [getattr(node, child, None) for child in children] + stack


def collect_counters(dataset) -> Dict[str, Tuple[int, str]]:
    """Add up all counters that belong to a dataset.

    Args:
        dataset: As for :func:`iter_counters`.

    Returns:
        dict[str, tuple[int, str]]: Name to count and description; counts of
        one name from several places are added.
    """
    merged: Dict[str, Tuple[int, str]] = {}
    for counters in iter_counters(dataset):
        for name, count in counters.totals().items():
            before, _ = merged.get(name, (0, ''))
            merged[name] = (before + count, counters.descriptions[name])
    return merged
