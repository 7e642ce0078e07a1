"""Accuracy against the size of boxes, with its uncertainty."""

from typing import Sequence, Tuple

import numpy as np

# COCO's small, medium and large in px^2 (pycocotools, Params.areaRng). Areas
# there are those of masks and both ends of a range belong to it; here areas
# are those of boxes and a range begins with its lower end, so that every box
# is in exactly one.
COCO_AREAS = {
    'small': (0.0, 32.0**2),
    'medium': (32.0**2, 96.0**2),
    'large': (96.0**2, float('inf')),
}
# Finer steps, as sides of a square of the same area in px.
FINE_SIDES = (0, 8, 16, 24, 32, 48, 64, 96, 128, 192, 256, 384, 512)


def box_areas(bboxes: np.ndarray) -> np.ndarray:
    """Areas of boxes.

    Args:
        bboxes (np.ndarray): (N, 4) xyxy in px.

    Returns:
        np.ndarray: (N,) in px^2, float64.

    Examples:
        >>> box_areas(np.array([[10, 10, 30, 15]])).tolist()
        [100.0]
    """
    bboxes = np.asarray(bboxes, dtype=np.float64).reshape(-1, 4)
    return (bboxes[:, 2:] - bboxes[:, :2]).clip(min=0).prod(axis=1)


def count_hits_by_area(
    areas: np.ndarray, correct: np.ndarray, edges: Sequence[float]
) -> Tuple[np.ndarray, np.ndarray]:
    """Count hits and boxes in each range of areas.

    Args:
        areas (np.ndarray): Areas in px^2, (N,).
        correct (np.ndarray): Whether each box got its class, (N,) bool.
        edges (Sequence[float]): E rising lower ends in px^2, the first not
            above any area; range e is [edges[e], edges[e + 1]), the last one
            is open.

    Returns:
        tuple[np.ndarray, np.ndarray]: Hits and counts, both (E,) int64.

    Raises:
        ValueError: If the shapes differ, the edges do not rise, or an area
            is below the first of them.

    Examples:
        >>> count_hits_by_area([1, 4, 5], [True, False, True], [0, 4])[0]
        array([1, 1])
    """
    areas = np.asarray(areas, dtype=np.float64)
    correct = np.asarray(correct, dtype=bool)
    edges = np.asarray(edges, dtype=np.float64)
    if areas.ndim != 1 or areas.shape != correct.shape:
        raise ValueError(
            f'areas and correct must both be (N,), got {areas.shape} and '
            f'{correct.shape}'
        )
    if not edges.size or (np.diff(edges) <= 0).any():
        raise ValueError(f'edges must rise, got {edges.tolist()}')
    if areas.size and not areas.min() >= edges[0]:
        raise ValueError(
            f'an area of {areas.min()} is below the first edge, {edges[0]}'
        )
    index = np.searchsorted(edges, areas, side='right') - 1
    counts = np.bincount(index, minlength=len(edges))
    hits = np.bincount(index[correct], minlength=len(edges))
    return hits, counts


def wilson_interval(
    hits: np.ndarray, counts: np.ndarray, z: float = 1.959964
) -> Tuple[np.ndarray, np.ndarray]:
    """Confidence interval of a share: how far luck may have moved it.

    Wilson's score interval (E. B. Wilson, JASA 22, 1927), which stays within
    [0, 1] and is sensible for few boxes. Boxes count as independent, which
    those of one image are not: the true uncertainty is rather larger.

    Args:
        hits (np.ndarray): Hits, any shape.
        counts (np.ndarray): Trials, of the same shape.
        z (float): Quantile of the normal distribution. Defaults to that of
            95 %.

    Returns:
        tuple[np.ndarray, np.ndarray]: Lower and upper ends in [0, 1]; NaN
        without trials.

    Examples:
        For z = 2, 4 of 8: (4 + 2 +- 2 sqrt(2 + 1)) / 12.

        >>> low, high = wilson_interval(np.array([4]), np.array([8]), z=2)
        >>> low.round(4).tolist(), high.round(4).tolist()
        ([0.2113], [0.7887])
    """
    hits = np.asarray(hits, dtype=np.float64)
    counts = np.asarray(counts, dtype=np.float64)
    n = np.where(counts > 0, counts, np.nan)
    middle = hits + z**2 / 2
    half = z * np.sqrt(hits * (n - hits) / n + z**2 / 4)
    low, high = (middle - half) / (n + z**2), (middle + half) / (n + z**2)
    return low.clip(0, 1), high.clip(0, 1)
