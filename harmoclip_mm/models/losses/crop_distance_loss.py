"""Regions against the image embeddings of their crops."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from harmoclip_mm.registry import MODELS

from ..utils import RowExchange, global_mean


@MODELS.register_module()
class CropDistanceLoss(nn.Module):
    """Mean of ``1 - cos`` of the regions of all ranks and their crops.

    CLIPSelf, arXiv 2310.01403, equation 2. Whether crops are a mere target
    or learn too is decided by who encodes them, see ``RegionAlignmentHead``.

    Args:
        loss_weight (float): Weight of the loss. Defaults to 1.
    """

    def __init__(self, loss_weight: float = 1.0) -> None:
        super().__init__()
        self.loss_weight = loss_weight

    def forward(self, regions: Tensor, crops: Tensor) -> Tensor:
        """Computes the loss.

        Args:
            regions (Tensor): Region embeddings of this rank, shape (R, D).
            crops (Tensor): Image embeddings of their crops, shape (R, D).

        Returns:
            Tensor: Scalar loss over the regions of all ranks, equal on all of
            them; 0 when there are none.
        """
        with torch.autocast(device_type=regions.device.type, enabled=False):
            if regions.dtype != torch.float64:
                regions, crops = regions.float(), crops.float()
            count = RowExchange(regions).total
            distances = 1 - F.cosine_similarity(regions, crops, dim=1)
            return self.loss_weight * global_mean(distances.sum(), count)
