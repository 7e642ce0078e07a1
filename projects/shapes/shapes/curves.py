"""What a curve of blends is worth: local skill at a level of global skill."""

from typing import Sequence

import numpy as np

from .results import Curve

__all__ = ['LEVELS', 'area', 'best_at', 'on_or_above']

# Levels of mean R@1 that count, in points from that of the start.
LEVELS = np.linspace(-5, 5, 101)


def best_at(curve: Curve, levels: Sequence[float]) -> np.ndarray:
    """The most of novel boxes at each level of R@1.

    Between two blends the curve is taken as straight.

    Args:
        curve (Curve): (R@1, novel Top-1) of each blend, the start first.
        levels (Sequence[float]): Least R@1, (N,), percent.

    Returns:
        np.ndarray: The largest novel Top-1 of the curve where its R@1 is at
        least the level, (N,); -inf where it is nowhere.
    """
    recall, novel = np.array(curve).T
    best = np.full(len(levels), -np.inf)
    for at, level in enumerate(levels):
        reached = novel[recall >= level]
        crossing = (recall[:-1] - level) * (recall[1:] - level) < 0
        first, second = recall[:-1][crossing], recall[1:][crossing]
        part = (level - first) / (second - first)
        between = novel[:-1][crossing] * (1 - part)
        between += novel[1:][crossing] * part
        best[at] = max([-np.inf, *reached, *between])
    return best


def area(curve: Curve) -> float:
    """How far a curve is above its start.

    Args:
        curve (Curve): See :func:`best_at`.

    Returns:
        float: Gain of novel Top-1 over the start, in points, averaged over
        the levels of R@1 from 5 below the start's to 5 above it; 0 at levels
        that the curve does not reach.
    """
    recall, novel = curve[0]
    return float(np.maximum(best_at(curve, recall + LEVELS) - novel, 0).mean())


def on_or_above(ours: Curve, theirs: Curve) -> bool:
    """Whether a curve is on or above another at every level of R@1.

    Args:
        ours, theirs (Curve): Curves from one start.

    Returns:
        bool: Whether nothing of the other is above it, at the levels of the
        other's own points and between them.
    """
    recall = [point[0] for point in theirs]
    levels = np.union1d(recall, np.linspace(min(recall), max(recall), 101))
    return bool(np.all(best_at(ours, levels) >= best_at(theirs, levels)))
