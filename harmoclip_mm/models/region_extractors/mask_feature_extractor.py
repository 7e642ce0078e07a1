"""Region features by mask pooling on the dense map."""

from typing import Tuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from harmoclip_mm.registry import MODELS

from ..utils import RegionBatch
from .roi_feature_extractor import RoIFeatureExtractor


def mask_coverage(masks: Tensor, grid: Tuple[int, int], stride: int) -> Tensor:
    """Share of each cell of a grid that masks cover.

    Args:
        masks (Tensor): Masks of 0 and 1, shape (N, H, W), less than a cell
            larger than the grid, as of towers that cut their own size to
            whole cells; what is missing on the right and at the bottom is
            not covered.
        grid (Tuple[int, int]): Rows h and columns w of the grid.
        stride (int): Side of a cell in pixels.

    Returns:
        Tensor: Shares in [0, 1], shape (N, h, w), float32.

    Raises:
        ValueError: If the masks are larger than the grid.
    """
    height, width = (side * stride for side in grid)
    if masks.shape[-2] >= height + stride or masks.shape[-1] >= width + stride:
        raise ValueError(
            f'Masks of {masks.shape[-1]} x {masks.shape[-2]} px belong to no '
            f'image of at most {width} x {height} px: they must be resized '
            'with it.'
        )
    masks = F.pad(  # or cut
        masks, (0, width - masks.shape[-1], 0, height - masks.shape[-2])
    )
    # As sums of bytes: a float copy of 100 masks of 1024 x 1024 px would
    # take 400 MB.
    cells = masks.unflatten(-1, (grid[1], stride))
    cells = cells.unflatten(-3, (grid[0], stride))
    return cells.sum((-3, -1), dtype=torch.float32) / stride**2


@MODELS.register_module()
class MaskFeatureExtractor(RoIFeatureExtractor):
    """Averages the dense map under each region's mask.

    A cell of the map counts with the share of its area that the mask covers.
    Each location is L2-normalised before pooling and the average again after
    it, as in CLIPSelf (arXiv 2310.01403), whose code takes every cell that a
    mask touches as a whole.

    A mask that covers nothing, say of an object so thin that resizing lost
    it, is replaced by its box: the region then has the feature of
    ``RoIFeatureExtractor``.

    Args:
        normalise_map (bool): See :class:`RoIFeatureExtractor`.
    """

    needs_masks = True

    def forward(
        self,
        dense: Tensor,
        regions: RegionBatch,
        img: Tensor,
        backbone: nn.Module,
    ) -> Tensor:
        """Pools regions that have ``masks``, see the base class.

        Raises:
            ValueError: If the regions have no masks.
        """
        if regions.masks is None:
            raise ValueError(
                'MaskFeatureExtractor needs the masks of the regions; '
                'RoIFeatureExtractor needs boxes only.'
            )
        dense, stride = self.prepare(dense), backbone.patch_size
        grid = tuple(dense.shape[-2:])
        covered, pooled = [], []
        # In half precision, autocast's choice, sums over cells lose digits.
        with torch.autocast(dense.device.type, enabled=False):
            for fmap, masks in zip(dense, regions.masks):
                weights = mask_coverage(masks, grid, stride).flatten(1)
                covered.append(weights.any(dim=1))
                pooled.append(weights.to(dense.dtype) @ fmap.flatten(1).t())
        # The direction of a weighted mean is that of the weighted sum.
        features = F.normalize(torch.cat(pooled), dim=1)
        lost = (~torch.cat(covered)).nonzero()[:, 0]
        if len(lost):
            boxes = self.pool(dense, regions.rois[lost], stride)
            features = features.index_copy(0, lost, boxes)
        return features
