"""How far a difference of two models may be chance: bootstrap over images."""

from typing import NamedTuple, Optional, Tuple

import numpy as np
from scipy import sparse

# Draws whose weights are held at once.
_CHUNK = 100


class Units(NamedTuple):
    """What a figure is a mean of: boxes, captions, images.

    Attributes:
        images (np.ndarray): The image of each unit, (R,) in [0, N).
        values (np.ndarray): What it counts, (R,), such as 1 for a hit.
        kinds (np.ndarray, optional): Its class, (R,), where the figure is
            the mean of the means of classes. Defaults to None: one mean.
    """

    images: np.ndarray
    values: np.ndarray
    kinds: Optional[np.ndarray] = None


def mean_of_units(units: Units) -> float:
    """The figure.

    Args:
        units (Units): Its R units.

    Returns:
        float: The mean in percent.

    Examples:
        Class 0 has 1 of 2, class 1 has 1 of 1: micro 2/3, macro 3/4.

        >>> images, hits = np.array([0, 0, 1]), np.array([1, 0, 1])
        >>> round(mean_of_units(Units(images, hits)), 2)
        66.67
        >>> mean_of_units(Units(images, hits, np.array([0, 0, 1])))
        75.0
    """
    weights = np.ones((1, int(units.images.max()) + 1))
    return float(_weighted_means(units, weights)[0])


def bootstrap_difference(
    first: Units,
    second: Units,
    draws: int = 1000,
    level: float = 0.95,
    seed: int = 0,
) -> Tuple[float, float]:
    """Percentile interval of a difference (Efron, 1979), paired by image.

    Each draw takes N of the N images with replacement, the same for both
    models, with all their units: boxes of one image are not independent.
    Answers of retrieval are drawn, what they are sought in stays whole.

    Args:
        first (Units): Units of one model.
        second (Units): Those of the other, of the same images.
        draws (int): Number of draws. Defaults to 1000.
        level (float): Share of the draws within the interval. Defaults to
            0.95.
        seed (int): Seed of the draws. Defaults to 0.

    Returns:
        tuple[float, float]: Ends of the interval of second - first, in
        percent.

    Raises:
        ValueError: If the units are not of the same images.
    """
    if not np.array_equal(np.unique(first.images), np.unique(second.images)):
        raise ValueError('a difference needs figures over the same images')
    present, number = np.unique(first.images, return_inverse=True)
    first = first._replace(images=number)
    second = second._replace(images=np.searchsorted(present, second.images))
    total, rng = len(present), np.random.default_rng(seed)
    found = []
    for start in range(0, draws, _CHUNK):
        size = min(_CHUNK, draws - start)
        weights = rng.multinomial(total, np.full(total, 1 / total), size)
        found.append(
            _weighted_means(second, weights) - _weighted_means(first, weights)
        )
    margin = 100 * (1 - level) / 2
    low, high = np.percentile(np.concatenate(found), [margin, 100 - margin])
    return float(low), float(high)


def _weighted_means(units: Units, weights: np.ndarray) -> np.ndarray:
    """Figures in percent with images weighted, (draws,), of (draws, N)."""
    kinds = np.zeros(len(units.images), dtype=int)
    if units.kinds is not None:
        _, kinds = np.unique(units.kinds, return_inverse=True)
    place = kinds, units.images
    shape = kinds.max() + 1, weights.shape[1]
    sums, counts = (
        sparse.csr_matrix((each, place), shape) @ weights.T
        for each in (units.values.astype(float), np.ones(len(kinds)))
    )
    # a class that a draw misses has no mean in it
    shares = np.where(counts > 0, sums / np.maximum(counts, 1), np.nan)
    return 100 * np.nanmean(shares, axis=0)
