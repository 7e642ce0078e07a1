"""Differences of two methods from the same starts."""

from dataclasses import dataclass
from typing import Sequence

import numpy as np

__all__ = ['ENOUGH', 'Difference', 'compare']

RESAMPLES = 10000
# A bootstrap of fewer starts is little more than their range.
ENOUGH = 5


@dataclass(frozen=True)
class Difference:
    """One figure of two methods, start by start.

    Attributes:
        values (tuple[float]): The differences, in the order of the starts.
        mean (float): Their mean.
        low, high (float): Its 95 % interval, by the bootstrap over the
            starts; NaN for fewer than 5 of them.
        wins (int): Starts at which the first is ahead.
    """

    values: Sequence[float]
    mean: float
    low: float
    high: float
    wins: int

    def __str__(self) -> str:
        if len(self.values) >= ENOUGH:
            return f'{self.mean:+.1f} [{self.low:+.1f}, {self.high:+.1f}]'
        each = ', '.join(f'{value:+.1f}' for value in self.values)
        return f'{self.mean:+.1f} ({each})'


def compare(ours: Sequence[float], theirs: Sequence[float]) -> Difference:
    """Compare two methods by a figure.

    Args:
        ours, theirs (Sequence[float]): The figure by start, at least one.

    Returns:
        Difference: Ours less theirs.
    """
    # torch comes with it, and the help of compare.py answers without
    from harmoclip_mm.evaluation.functional import Units, bootstrap

    values = np.subtract(ours, theirs)
    low = high = float('nan')
    if len(values) >= ENOUGH:
        # each start is what there an image is, and figures are percent
        starts = Units(np.arange(len(values)), values / 100)
        low, high = np.percentile(bootstrap(starts, RESAMPLES), [2.5, 97.5])
    return Difference(
        tuple(values.tolist()),
        float(values.mean()),
        float(low),
        float(high),
        int((values > 0).sum()),
    )
