"""Average precision of detections whose matches are known."""

from typing import NamedTuple, Optional, Sequence

import numpy as np

# of COCO and LVIS
_RECALLS = np.linspace(0, 1, 101)


class Detections(NamedTuple):
    """D detections and G true boxes; what the precision is averaged over.

    Attributes:
        images (np.ndarray): The image of each detection, (D,) in [0, N).
        kinds (np.ndarray): Its class, (D,).
        scores (np.ndarray): Its score, (D,).
        right (np.ndarray): Whether it has a true box of its own at each of T
            thresholds of the overlap, (D, T) bool.
        counted (np.ndarray): Whether it counts, be it right or wrong, (D, T)
            bool.
        true_images (np.ndarray): The image of each true box, (G,).
        true_kinds (np.ndarray): Its class, (G,).
        num_images (int): How many images can be drawn, N.
    """

    images: np.ndarray
    kinds: np.ndarray
    scores: np.ndarray
    right: np.ndarray
    counted: np.ndarray
    true_images: np.ndarray
    true_kinds: np.ndarray
    num_images: int

    def select(
        self,
        kinds: Optional[Sequence[int]] = None,
        threshold: slice = slice(None),
    ) -> 'Detections':
        """Those of some classes or thresholds.

        Args:
            kinds (Sequence[int], optional): The classes. Defaults to all.
            threshold (slice): The thresholds. Defaults to all.

        Returns:
            Detections: Detections and true boxes.
        """
        own, true = self.images >= 0, self.true_images >= 0
        if kinds is not None:
            own = np.isin(self.kinds, kinds)
            true = np.isin(self.true_kinds, kinds)
        return Detections(
            *(each[own] for each in self[:3]),
            *(each[own, threshold] for each in self[3:5]),
            *(each[true] for each in self[5:7]),
            self.num_images,
        )

    def figures(self, weights: np.ndarray) -> np.ndarray:
        """AP where images count more than once, or not at all.

        The mean over classes that have a true box, and over thresholds, of
        the precision at 101 recalls, as pycocotools and lvis have it.

        Args:
            weights (np.ndarray): How often each image counts, (K, N).

        Returns:
            np.ndarray: The K figures in percent; NaN without a true box.

        Examples:
            Of two true boxes the best detection finds one, the next is wrong.

            >>> once, both = np.zeros(2, dtype=int), np.array([[True], [True]])
            >>> found = Detections(once, once, np.array([0.9, 0.5]),
            ...     np.array([[True], [False]]), both, once, once, 1)
            >>> found.figures(np.ones((1, 1))).round(2).tolist()
            [50.5]
        """
        # a stable order: of equal scores the earlier image comes first
        order = np.lexsort((-self.scores, self.kinds))
        kinds, (sums, counts) = self.kinds[order], np.zeros((2, len(weights)))
        for kind in np.unique(self.true_kinds):
            true = self.true_images[self.true_kinds == kind]
            total = weights[:, true].sum(axis=1)
            rows = order[
                slice(*np.searchsorted(kinds, [kind, kind + 1], side='left'))
            ]
            # most thresholds are as the one before where boxes are given
            both = np.stack([self.right[rows], self.counted[rows]])
            changed = (both[..., 1:] != both[..., :-1]).any(axis=(0, 1))
            first = np.flatnonzero([True, *changed])
            copies = np.diff([*first, both.shape[-1]])
            right, counted = both[..., first].transpose(0, 2, 1)  # (T', D')
            own = weights[:, None, self.images[rows]]  # (K, 1, D')
            hits = np.cumsum(own * right, axis=-1)
            found = np.cumsum(own * counted, axis=-1)
            precision = hits / np.maximum(found, 1)
            best = np.maximum.accumulate(precision[..., ::-1], axis=-1)
            recall = hits / np.maximum(total, 1)[:, None, None]
            # how many of the 101 are reached
            near = (100 * recall + 0.5).astype(int)
            steps = near + (_RECALLS[near] <= recall)
            new = np.diff(steps, axis=-1, prepend=0)
            area = (best[..., ::-1] * new).sum(axis=-1) / len(_RECALLS)
            area = np.average(area, axis=1, weights=copies)
            sums = sums + np.where(total > 0, area, 0)
            counts = counts + (total > 0)
        with np.errstate(invalid='ignore'):
            return 100 * sums / counts
