"""Counts that data-loader workers make and the main process reads."""

from typing import Any, Dict, List, Tuple

import torch
from torch.utils.data import get_worker_info

# The main process and up to 127 workers.
_ROWS = 128


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

    def __init__(self, **descriptions: str) -> None:
        self.descriptions = descriptions
        self._columns = {name: i for i, name in enumerate(descriptions)}
        shape = (_ROWS, len(descriptions))
        self._counts = torch.zeros(shape, dtype=torch.int64).share_memory_()

    def add(self, name: str, number: int = 1) -> None:
        """Count ``number`` more of ``name``.

        Args:
            name (str): One of the names given at construction.
            number (int): How many to add; 0 is allowed.
        """
        if number:
            info = get_worker_info()
            row = 0 if info is None else 1 + info.id % (_ROWS - 1)
            self._counts[row, self._columns[name]] += int(number)

    def totals(self) -> Dict[str, int]:
        """Sums over all processes of this rank.

        Returns:
            dict[str, int]: Name to count, in the order of construction.
        """
        return dict(zip(self._columns, self._counts.sum(0).tolist()))

    def __repr__(self) -> str:
        return f'{type(self).__name__}({self.totals()})'


def collect_counters(dataset: Any) -> Dict[str, Tuple[int, str]]:
    """Add up the counters of a data set, of what it wraps and of transforms.

    Args:
        dataset: A data set, a wrapper with ``dataset`` or ``datasets``, or a
            transform, which may hold further ``transforms``. Whatever has a
            ``counters`` attribute of type :class:`SharedCounters` is found.

    Returns:
        dict[str, tuple[int, str]]: Name to count and description, in the
        order of the data; counts of one name from several places are added.
    """
    found: List[SharedCounters] = []
    nodes = [dataset]
    while nodes:
        node = nodes.pop(0)
        if isinstance(node, (list, tuple)):
            nodes = [*node, *nodes]
            continue
        counters = getattr(node, 'counters', None)
        if isinstance(counters, SharedCounters) and counters not in found:
            found.append(counters)
        places = 'dataset', 'datasets', 'pipeline', 'transforms'
        inner = [getattr(node, place, None) for place in places]
        nodes = [each for each in inner if each is not None] + nodes
    merged: Dict[str, Tuple[int, str]] = {}
    for counters in found:
        for name, count in counters.totals().items():
            before, _ = merged.get(name, (0, ''))
            merged[name] = (before + count, counters.descriptions[name])
    return merged
