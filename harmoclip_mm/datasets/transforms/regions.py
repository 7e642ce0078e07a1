"""Choice of the regions of a sample."""

from typing import Dict, Optional

import numpy as np
from mmcv.transforms import BaseTransform
from mmcv.transforms.utils import cache_randomness
from mmdet.structures.bbox import HorizontalBoxes

from harmoclip_mm.registry import TRANSFORMS

from ..counters import SharedCounters

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
class SampleRegions(BaseTransform):
    """Drop regions that are too small or doubtful, then keep at most a number
    of them.

    Place it after the resizing: ``min_size`` is meant in px of the network
    input, because a region below the grid of the dense features has nothing
    of its own to learn from. What is dropped is counted.

    Required key: ``gt_bboxes``; ``gt_scores`` where regions have one. Modified
    keys: those of ``REGION_FIELDS``.

    Args:
        max_regions (int): Regions of an image to keep, chosen at random; their
            order is kept. Defaults to 20.
        min_size (float): Least width and height in px of the network input.
            Defaults to 0, which keeps all.
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
        self.min_score = min_score
        counted = dict(small_boxes=f'boxes below {min_size} px dropped')
        if min_score:
            text = f'boxes with a score below {min_score} dropped'
            counted['doubtful_boxes'] = text
        self.counters = SharedCounters(**counted)

    @cache_randomness
    def _choose(self, count: int) -> np.ndarray:
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
class FilterRegions(BaseTransform):
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


def grid_boxes(height: int, width: int, rows: int, columns: int) -> np.ndarray:
    """The cells of a grid over an image.

    Args:
        height (int): Of the image, in px.
        width (int): Of the image, in px.
        rows (int): Cells from top to bottom.
        columns (int): Cells from left to right.

    Returns:
        np.ndarray: xyxy in px, row by row, (rows * columns, 4) float32.
    """
    x = np.linspace(0, width, columns + 1)
    y = np.linspace(0, height, rows + 1)
    row, column = np.divmod(np.arange(rows * columns), columns)
    boxes = np.stack([x[column], y[row], x[column + 1], y[row + 1]], 1)
    return boxes.astype(np.float32)


@TRANSFORMS.register_module()
class SampleGridRegions(BaseTransform):
    """Replace the regions of a sample by the cells of a random grid.

    CLIPSelf (arXiv 2310.01403) learns from such patches: an image is cut
    into M x N equal cells, M and N drawn anew each time. As in its code no
    side of the grid has more than twice the cells of the other.

    Place it before an image is padded, or cells hold padding, and before
    texts are tokenized. The cells have no phrases, so those of the sample are
    taken away with its regions.

    Required keys: ``img_shape`` (height, width).
    Modified keys: ``gt_bboxes``, ``gt_bboxes_labels`` (zeros),
    ``gt_ignore_flags``. Removed keys: ``phrases`` and what else there is of
    ``REGION_FIELDS``.

    Args:
        max_splits (int): Most cells of a side. Defaults to 6.
        max_regions (int): Cells of an image to keep, chosen at random.
            Defaults to 20.

    Raises:
        ValueError: If one of them is below 1.
    """

    def __init__(self, max_splits: int = 6, max_regions: int = 20) -> None:
        if min(max_splits, max_regions) < 1:
            raise ValueError(
                'max_splits and max_regions must be at least 1, not '
                f'{max_splits} and {max_regions}'
            )
        self.max_splits = max_splits
        self.max_regions = max_regions
        sides = range(1, max_splits + 1)
        self.grids = [
            (rows, columns)
            for rows in sides
            for columns in sides
            if max(rows, columns) <= 2 * min(rows, columns)
        ]

    @cache_randomness
    def _choose(self) -> tuple:
        """A grid and the cells of it to keep."""
        rows, columns = self.grids[np.random.randint(len(self.grids))]
        cells = np.random.permutation(rows * columns)[: self.max_regions]
        return rows, columns, np.sort(cells)

    def transform(self, results: dict) -> dict:
        """Replace the regions."""
        height, width = results['img_shape'][:2]
        rows, columns, cells = self._choose()
        boxes = grid_boxes(height, width, rows, columns)[cells]
        for key in ('phrases', *REGION_FIELDS):
            results.pop(key, None)
        results['gt_bboxes'] = HorizontalBoxes(boxes)
        results['gt_bboxes_labels'] = np.zeros(len(cells), dtype=np.int64)
        results['gt_ignore_flags'] = np.zeros(len(cells), dtype=bool)
        return results
