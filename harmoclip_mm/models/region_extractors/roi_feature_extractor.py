"""Region features by RoIAlign on the dense map."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torchvision.ops import roi_align

from harmoclip_mm.registry import MODELS

from ..utils import RegionBatch


@MODELS.register_module()
class RoIFeatureExtractor(nn.Module):
    """Pools each box from the dense map of its image.

    One dense map serves all boxes of an image. Each location is
    L2-normalised before pooling, the pooled feature again after it (as
    CLIPSelf and FineCLIP do); ``normalise_map=False`` leaves the first out
    (FG-CLIP's protocol).

    Args:
        normalise_map (bool): Normalise each location before pooling.
            Defaults to True.
    """

    needs_dense = True
    needs_masks = False

    def __init__(self, normalise_map: bool = True) -> None:
        super().__init__()
        self.normalise_map = normalise_map

    def forward(
        self,
        dense: Tensor,
        regions: RegionBatch,
        img: Tensor,
        backbone: nn.Module,
    ) -> Tensor:
        """Pools region features.

        Args:
            dense (Tensor): Dense map, shape (B, D, h, w), not normalised.
            regions (RegionBatch): R boxes in pixels of ``img``.
            img (Tensor): Network input (B, 3, H, W), not used.
            backbone (nn.Module): Vision tower; only its ``patch_size`` is
                used, the stride of the map in pixels.

        Returns:
            Tensor: L2-normalised features, shape (R, D).
        """
        dense = self.prepare(dense)
        return self.pool(dense, regions.rois, backbone.patch_size)

    def prepare(self, dense: Tensor) -> Tensor:
        """Makes a map ready for pooling: at least float32, normalised.

        Args:
            dense (Tensor): Dense map, shape (B, D, h, w).

        Returns:
            Tensor: The map, L2-normalised at each location where
            ``normalise_map`` says so.
        """
        # RoIAlign has no bfloat16 kernel, and averages lose little by
        # float32.
        if dense.dtype in (torch.float16, torch.bfloat16):
            dense = dense.float()
        return F.normalize(dense, dim=1) if self.normalise_map else dense

    def pool(self, dense: Tensor, rois: Tensor, stride: int) -> Tensor:
        """Averages boxes of a prepared map.

        Args:
            dense (Tensor): Prepared map, shape (B, D, h, w).
            rois (Tensor): Image index and xyxy box in pixels, shape (R, 5).
            stride (int): Side of a cell in pixels.

        Returns:
            Tensor: L2-normalised features, shape (R, D).
        """
        # torchvision's: mmcv's kernels read memory as if it were contiguous.
        pooled = roi_align(
            dense,
            rois.to(dense.dtype),
            output_size=1,
            spatial_scale=1.0 / stride,
            sampling_ratio=0,  # as many samples as the box has cells
            aligned=True,
        )
        return F.normalize(pooled.flatten(1), dim=1)
