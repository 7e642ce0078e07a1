"""How far a difference of two models may be chance: bootstrap over images."""

from typing import NamedTuple, Optional, Tuple, Union

import numpy as np
from scipy import sparse

from .average_precision import Detections

# Draws whose weights are held at once.
_CHUNK = 25


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

    @property
    def num_images(self) -> int:
        """How many images can be drawn."""
        return int(self.images.max()) + 1

    @property
    def figure(self) -> float:
        """The figure of each image once, in percent."""
        return float(self.figures(np.ones((1, self.num_images)))[0])

    def figures(self, weights: np.ndarray) -> np.ndarray:
        """The figure where images count more than once, or not at all.

        Args:
            weights (np.ndarray): How often each image counts, (K, N).

        Returns:
            np.ndarray: The K figures in percent; NaN without a unit.

        Examples:
            Class 0 has 1 of 2, class 1 has 1 of 1: micro 2/3, macro 3/4.

            >>> images, hits = np.array([0, 0, 1]), np.array([1, 0, 1])
            >>> once = np.ones((1, 2))
            >>> Units(images, hits).figures(once).round(2).tolist()
            [66.67]
            >>> Units(images, hits, np.array([0, 0, 1])).figures(once).tolist()
            [75.0]
        """
        kinds = np.zeros(len(self.images), dtype=int)
        if self.kinds is not None:
            _, kinds = np.unique(self.kinds, return_inverse=True)
        place = kinds, self.images
        shape = kinds.max() + 1, weights.shape[1]
        sums, counts = (
            sparse.csr_matrix((each, place), shape) @ weights.T
            for each in (self.values.astype(float), np.ones(len(kinds)))
        )
        # a class that a draw misses has no mean in it
        shares = np.divide(sums, counts, where=counts > 0, out=0 * sums)
        with np.errstate(invalid='ignore'):
            return 100 * shares.sum(axis=0) / (counts > 0).sum(axis=0)


def bootstrap(
    sampled: Union[Units, Detections], draws: int = 1000, seed: int = 0
) -> np.ndarray:
    """Draws a figure anew (Efron, 1979).

    Each draw takes N of the N images with replacement, with all that is in
    them: boxes of one image are not independent. Draws of one seed take the
    same images of the same data, so that the differences of two models are
    those of pairs.

    Args:
        sampled (Units | Detections): What the figure is made of.
        draws (int): Number of draws. Defaults to 1000.
        seed (int): Seed of the draws. Defaults to 0.

    Returns:
        np.ndarray: The figure of each draw in percent, (draws,).
    """
    total, rng = sampled.num_images, np.random.default_rng(seed)
    found = []
    for start in range(0, draws, _CHUNK):
        weights = [
            np.bincount(rng.integers(total, size=total), minlength=total)
            for _ in range(min(_CHUNK, draws - start))
        ]
        found.append(sampled.figures(np.array(weights, dtype=float)))
    return np.concatenate(found)


def interval_of_difference(
    first: np.ndarray, second: np.ndarray, level: float = 0.95
) -> Tuple[float, float]:
    """Percentile interval of the difference of two models.

    Args:
        first (np.ndarray): What :func:`bootstrap` gave for one, (draws,).
        second (np.ndarray): For the other, of the same data and seed.
        level (float): Share of the draws within the interval. Defaults to
            0.95.

    Returns:
        tuple[float, float]: Ends of the interval of second - first.
    """
    margin = 50 * (1 - level)
    low, high = np.nanpercentile(second - first, [margin, 100 - margin])
    return float(low), float(high)
