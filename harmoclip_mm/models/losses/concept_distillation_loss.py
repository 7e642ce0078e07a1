"""KD: what a teacher sees in a region, over the concepts of the batch."""

from typing import Tuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from harmoclip_mm.registry import MODELS

from ..utils import gather_rows, global_mean


def pool_concepts(phrases: Tensor, keys: Tensor) -> Tuple[Tensor, Tensor]:
    """Makes one embedding of all rows that say the same.

    Args:
        phrases (Tensor): Phrase embeddings, shape (N, D).
        keys (Tensor): Keys of the phrases, shape (N,), int64.

    Returns:
        Tuple[Tensor, Tensor]: L2-normalised means of equal keys, shape
        (K, D), in the order of the keys, which do not depend on the order of
        the rows; and which of them each row says, shape (N,).
    """
    distinct, place = keys.unique(return_inverse=True)
    total = phrases.new_zeros((len(distinct), phrases.shape[1]))
    return F.normalize(total.index_add(0, place, phrases), dim=1), place


@MODELS.register_module()
class ConceptDistillationLoss(nn.Module):
    """Divergence from a teacher over the concepts of the global batch.

    RegionCLIP's distillation (arXiv 2112.09106) with the distinct phrases of
    all ranks in place of a pool of concepts made beforehand: the mean of
    ``KL(p || q) = sum_j p_j (log p_j - log q_j)`` over the regions, p the
    softmax of the teacher's logits and q that of the student's.

    Args:
        loss_weight (float): Weight of the loss. Defaults to 1.
    """

    def __init__(self, loss_weight: float = 1.0) -> None:
        super().__init__()
        self.loss_weight = loss_weight

    def forward(
        self,
        regions: Tensor,
        teacher: Tensor,
        phrases: Tensor,
        phrase_keys: Tensor,
        scale: Tensor,
    ) -> Tensor:
        """Computes the loss.

        Args:
            regions (Tensor): L2-normalised region embeddings, shape (R, D).
            teacher (Tensor): The teacher's of the same regions, (R, D).
            phrases (Tensor): EOT embeddings of their phrases, (R, D).
            phrase_keys (Tensor): Keys of the phrases, shape (R,), int64.
            scale (Tensor): Temperature of both as a scale, scalar.

        Returns:
            Tensor: Scalar mean over the regions of all ranks, 0 when there
            are none.
        """
        with torch.autocast(device_type=regions.device.type, enabled=False):
            if regions.dtype != torch.float64:
                regions, teacher = regions.float(), teacher.float()
                phrases, scale = phrases.float(), scale.float()
            rows = gather_rows(phrases).rows
            concepts, _ = pool_concepts(rows, gather_rows(phrase_keys).rows)
            with torch.no_grad():
                target = scale * teacher @ concepts.t()
            local = F.kl_div(
                (scale * regions @ concepts.t()).log_softmax(dim=1),
                target.log_softmax(dim=1),
                reduction='sum',
                log_target=True,
            )
            return self.loss_weight * global_mean(local, len(rows))
