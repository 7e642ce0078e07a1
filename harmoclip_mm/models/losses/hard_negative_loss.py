"""Regions against texts that are almost theirs."""

import torch
from torch import Tensor, nn

from harmoclip_mm.registry import MODELS

from ..utils import RowExchange, global_mean
from .row_record import record_rows


@MODELS.register_module()
class HardNegativeLoss(nn.Module):
    """Mean cross entropy of each region over its text and its negatives.

    FG-CLIP (arXiv 2505.05071; ``hard_contrastive_loss`` of its code, branch
    v1.0): only the texts made for a region stand against its own, not those
    of other regions.

    Args:
        loss_weight (float): Weight of the loss. Defaults to 1.
    """

    def __init__(self, loss_weight: float = 1.0) -> None:
        super().__init__()
        self.loss_weight = loss_weight

    def forward(
        self,
        regions: Tensor,
        phrases: Tensor,
        negatives: Tensor,
        mask: Tensor,
        scale: Tensor,
        weights: Tensor,
    ) -> Tensor:
        """Computes the loss.

        Args:
            regions (Tensor): L2-normalised region embeddings of this rank,
                shape (R, D).
            phrases (Tensor): Those of their phrases, shape (R, D).
            negatives (Tensor): Those of their negatives, shape (R, M, D).
            mask (Tensor): Which negatives there are, bool (R, M).
            scale (Tensor): Factor of the cosines, scalar.
            weights (Tensor): How much each region counts, shape (R,).

        Returns:
            Tensor: Scalar loss over all regions of all ranks that have a
            negative, equal on all ranks; 0 when there are none.
        """
        with torch.autocast(device_type=regions.device.type, enabled=False):
            if regions.dtype != torch.float64:
                regions, phrases = regions.float(), phrases.float()
                negatives, scale = negatives.float(), scale.float()
            texts = torch.cat([phrases[:, None], negatives], dim=1)
            logits = scale * torch.einsum('rd,rmd->rm', regions, texts)
            logits[:, 1:].masked_fill_(~mask, -torch.inf)
            rows = logits.logsumexp(dim=1) - logits[:, 0]
            record_rows(rows)
            weights = weights.to(rows.dtype) * mask.any(dim=1)
            total = RowExchange(weights).gather(weights).sum()
            return self.loss_weight * global_mean(rows @ weights, total)
