"""Choice of the regions of a sample."""

from typing import Dict, Optional

import numpy as np
from mmcv.transforms.utils import cache_randomness

from harmoclip_mm.registry import TRANSFORMS

from ..counters import SharedCounters
from .base import PrintedTransform

# What a sample has a row of for each box, and its name in ``gt_instances``.
# The one place that says so: choosing, replacing and packing regions read it.
REGION_FIELDS: Dict[str, Optional[str]] = {
    'gt_bboxes': 'bboxes',
    'gt_bboxes_labels': 'labels',
    'gt_scores': 'scores',  # confidence of the link, as a weight
    'gt_masks': 'masks',
    'gt_ignore_flags': None,  # mmdet packs ignored boxes apart
    'gt_candidate_mask': 'candidate_mask',
    'gt_subset_ids': 'subset_ids',
}


def keep_regions(results: dict, indices: np.ndarray) -> None:
    """Keep some regions of a sample, in place.

    Args:
        results (dict): A sample.
        indices (np.ndarray): Indices of the regions that stay, int64.
    """
    for key in REGION_FIELDS:
        if key in results:
            results[key] = results[key][indices]


@TRANSFORMS.register_module()
class SampleRegions(PrintedTransform):
    """Drop regions that are too small or doubtful, then keep at most a number
    of them.

    Place it after the resizing: ``min_size`` is meant in px of the network
    input, because a region below the grid of the dense features has nothing
    of its own to learn from. What is dropped is counted.

    Required key: ``gt_bboxes``; ``gt_scores`` where regions have one. Modified
    keys: those of ``REGION_FIELDS``.

    Args:
        max_regions (int): Regions of an image to keep. Defaults to 20.
        min_size (float): Least width and height in px of the network input.
            Defaults to 0, which keeps all.
        random (bool): Choose at random, as in training; else keep the first
            ones. Their order is kept. Defaults to True.
        min_score (float): Least confidence of a region's link, in [0, 1].
            Those that stay are chosen whatever their score: the losses weigh
            by it already. Defaults to 0, which keeps all.

    Raises:
        ValueError: If ``max_regions`` is below 1 or ``min_score`` is not in
            [0, 1].
    """

    def __init__(
        self,
        max_regions: int = 20,
        min_size: float = 0,
        random: bool = True,
        min_score: float = 0,
    ) -> None:
        if max_regions < 1:
            raise ValueError(
                f'max_regions must be at least 1, not {max_regions}'
            )
        if not 0 <= min_score <= 1:
            raise ValueError(f'min_score must be in [0, 1], not {min_score}')
        self.max_regions = max_regions
        self.min_size = min_size
        self.random = random
        self.min_score = min_score
        counted = dict(small_boxes=f'boxes below {min_size} px dropped')
        if min_score:
            text = f'boxes with a score below {min_score} dropped'
            counted['doubtful_boxes'] = text
        self.counters = SharedCounters(**counted)

    @cache_randomness
    def _choose(self, count: int) -> np.ndarray:
        if not self.random:
            return np.arange(self.max_regions)
        chosen = np.random.permutation(count)[: self.max_regions]
        return np.sort(chosen)

    def transform(self, results: dict) -> dict:
        """Choose regions."""
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
        scores = results.get('gt_scores')
        if scores is not None:
            sure = np.flatnonzero(scores >= self.min_score)
            if len(sure) < len(scores):
                self.counters.add('doubtful_boxes', len(scores) - len(sure))
                keep_regions(results, sure)
        count = len(results['gt_bboxes'])
        if count > self.max_regions:
            keep_regions(results, self._choose(count))
        return results


@TRANSFORMS.register_module()
class FilterRegions(PrintedTransform):
    """Keep the regions that an evaluation protocol scores.

    Place it before the resizing: areas are those of the boxes in px^2 of the
    original image. What is left out is counted.

    Required key: ``gt_bboxes``. Modified keys: those of ``REGION_FIELDS``.

    Args:
        min_area (float): Least area, itself included. Defaults to 0.
        max_area (float): Largest area, itself included. Defaults to
            infinity.
        max_regions (int, optional): Regions of an image to look at, in the
            order of the annotations; the areas are judged afterwards, as
            CLIPSelf's and FineCLIP's code does. Defaults to None: all.
        keep_crowd (bool): Score regions that are marked as ignored too, which
            are COCO's crowds. Defaults to False: they do not count as
            regions.

    Raises:
        ValueError: If ``max_regions`` is below 1 or no area fits.
    """

    def __init__(
        self,
        min_area: float = 0,
        max_area: float = float('inf'),
        max_regions: Optional[int] = None,
        keep_crowd: bool = False,
    ) -> None:
        if max_regions is not None and max_regions < 1:
            raise ValueError(
                f'max_regions must be at least 1, not {max_regions}'
            )
        if min_area > max_area:
            raise ValueError(
                f'no area is at least {min_area} and at most {max_area}'
            )
        self.min_area = min_area
        self.max_area = max_area
        self.max_regions = max_regions
        self.keep_crowd = keep_crowd
        self.counters = SharedCounters(
            regions_left_out='regions left out by the protocol'
        )

    def transform(self, results: dict) -> dict:
        """Filter regions."""
        boxes = results.get('gt_bboxes')
        if boxes is None:
            return results
        ignored = results.get('gt_ignore_flags')
        if self.keep_crowd and ignored is not None:
            results['gt_ignore_flags'] = np.zeros_like(ignored)
        array = np.asarray(getattr(boxes, 'tensor', boxes), dtype=np.float64)
        kept = np.arange(len(array))
        if not self.keep_crowd and ignored is not None:
            kept = kept[~ignored]
        kept = kept[: self.max_regions]
        sides = array[kept, 2:] - array[kept, :2]
        areas = sides.prod(axis=1)
        kept = kept[(areas >= self.min_area) & (areas <= self.max_area)]
        if len(kept) < len(array):
            self.counters.add('regions_left_out', len(array) - len(kept))
            keep_regions(results, kept)
        return results
