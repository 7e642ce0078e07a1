"""Regions that need no annotation."""

import numpy as np
from mmcv.transforms.utils import cache_randomness
from mmdet.structures.bbox import HorizontalBoxes

from harmoclip_mm.registry import TRANSFORMS

from .base import PrintedTransform
from .regions import REGION_FIELDS


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
class SampleGridRegions(PrintedTransform):
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
