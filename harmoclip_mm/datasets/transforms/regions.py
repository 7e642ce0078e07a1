"""Choice of the regions of a sample."""

import numpy as np
from mmcv.transforms import BaseTransform
from mmcv.transforms.utils import cache_randomness

from harmoclip_mm.registry import TRANSFORMS

from ..counters import SharedCounters

__all__ = ['SampleRegions', 'keep_regions']

_REGION_KEYS = (
    'gt_bboxes',
    'gt_bboxes_labels',
    'gt_ignore_flags',
    'gt_masks',
)


def keep_regions(results: dict, indices: np.ndarray) -> None:
    """Keep some regions of a sample, in place.

    Args:
        results (dict): A sample.
        indices (np.ndarray): Indices of the regions that stay, int64.
    """
    for key in _REGION_KEYS:
        if key in results:
            results[key] = results[key][indices]


@TRANSFORMS.register_module()
class SampleRegions(BaseTransform):
    """Drop regions that are too small, then keep at most a number of them.

    Place it after the resizing: ``min_size`` is meant in px of the network
    input, because a region below the grid of the dense features has nothing
    of its own to learn from. Small regions are counted.

    Required and modified keys: ``gt_bboxes``, ``gt_bboxes_labels``,
    ``gt_ignore_flags``, ``gt_masks`` where present.

    Args:
        max_regions (int): Regions of an image to keep. Defaults to 20.
        min_size (float): Least width and height in px of the network input.
            Defaults to 0, which keeps all.
        random (bool): Choose at random, as in training; else keep the first
            ones. Their order is kept. Defaults to True.
    """

    def __init__(
        self,
        max_regions: int = 20,
        min_size: float = 0,
        random: bool = True,
    ) -> None:
        if max_regions < 1:
            raise ValueError(
                f'max_regions must be at least 1, not {max_regions}'
            )
        self.max_regions = max_regions
        self.min_size = min_size
        self.random = random
        self.counters = SharedCounters(
            small_boxes=f'boxes below {min_size} px dropped'
        )

    @cache_randomness
    def _choose(self, count: int) -> np.ndarray:
        if not self.random:
            return np.arange(self.max_regions)
        chosen = np.random.permutation(count)[: self.max_regions]
        return np.sort(chosen)

    def transform(self, results: dict) -> dict:
        """Choose regions.

        Args:
            results (dict): A sample.

        Returns:
            dict: The sample with the chosen regions.
        """
        boxes = results.get('gt_bboxes')
        if boxes is None:
            return results
        if self.min_size > 0 and len(boxes):
            array = getattr(boxes, 'tensor', boxes)
            sides = np.asarray(array[:, 2:] - array[:, :2])
            large = np.flatnonzero((sides >= self.min_size).all(1))
            if len(large) < len(boxes):
                self.counters.add('small_boxes', len(boxes) - len(large))
                keep_regions(results, large)
        count = len(results['gt_bboxes'])
        if count > self.max_regions:
            keep_regions(results, self._choose(count))
        return results

    def __repr__(self) -> str:
        return (
            f'{type(self).__name__}(max_regions={self.max_regions}, '
            f'min_size={self.min_size}, random={self.random})'
        )
