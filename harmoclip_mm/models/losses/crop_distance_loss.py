"""Regions against the image embeddings of their crops."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from harmoclip_mm.registry import MODELS

from ..utils import RowExchange, global_mean


def cosine_distance(regions: Tensor, crops: Tensor) -> Tensor:
    """Sums ``1 - cos`` between regions and the crops they should match.

    CLIPSelf, arXiv 2310.01403, equation 2. Whether crops are a mere target
    or learn too is decided by who encodes them, see ``RegionAlignmentHead``.

    Args:
        regions (Tensor): Region embeddings, shape (R, D).
        crops (Tensor): Image embeddings of their crops, shape (R, D).

    Returns:
        Tensor: Sum over the regions, scalar in [0, 2 R].
    """
    return (1 - F.cosine_similarity(regions, crops, dim=1)).sum()


@MODELS.register_module()
class CropDistanceLoss(nn.Module):
    """Mean cosine distance of the regions of all ranks and their crops.

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
            local = cosine_distance(regions, crops)
            return self.loss_weight * global_mean(local, count)
