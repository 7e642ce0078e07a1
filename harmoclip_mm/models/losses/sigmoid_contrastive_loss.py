"""SigLIP's loss: every pair is a question of yes or no."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from harmoclip_mm.registry import MODELS

from ..layers import run_block
from ..utils import gather_rows, global_mean
from .info_nce import pair_groups


def _tile(left: Tensor, right: Tensor, positive: Tensor, *affine: Tensor):
    scale, bias = affine
    logits = scale * left @ right.t() + bias
    return -F.logsigmoid(torch.where(positive, logits, -logits)).sum()


def pairwise_sigmoid(
    left: Tensor,
    right: Tensor,
    groups: Tensor,
    scale: Tensor,
    bias: Tensor,
    chunk_size: int = 1024,
) -> Tensor:
    """Pairwise sigmoid loss over the global batch.

    SigLIP (arXiv 2303.15343, equation 1): the sum over all i, j of
    ``-log sigmoid(z_ij (scale <l_i, r_j> + bias))`` with z = 1 for pairs of
    one group and -1 else, divided by the number of rows. In SigLIP each pair
    is a group by itself.

    Args:
        left (Tensor): L2-normalised embeddings of this rank, shape (n, D).
        right (Tensor): Their partners, shape (n, D).
        groups (Tensor): Group of each pair, shape (n,), int64, comparable
            across ranks.
        scale (Tensor): Factor of the cosines, scalar.
        bias (Tensor): Added to them, scalar.
        chunk_size (int): Columns compared with at once; the backward
            computes each tile anew. Defaults to 1024.

    Returns:
        Tensor: The loss, scalar, equal on all ranks (see ``global_mean``).
    """
    with torch.autocast(device_type=left.device.type, enabled=False):
        if left.dtype != torch.float64:
            left, right = left.float(), right.float()
            scale, bias = scale.float(), bias.float()
        columns, names = gather_rows(right).rows, gather_rows(groups).rows
        local = left.sum() * 0.0
        for part, part_names in zip(
            columns.split(chunk_size), names.split(chunk_size)
        ):
            positive = groups[:, None] == part_names
            local = local + run_block(
                _tile,
                left,
                part,
                positive,
                scale,
                bias,
                with_cp=len(columns) > chunk_size,
            )
        return global_mean(local, len(columns))


@MODELS.register_module()
class RegionSigmoidLoss(nn.Module):
    """SigLIP's loss between regions and texts, in place of LRC's InfoNCE.

    Args:
        loss_weight (float): Weight of the loss. Defaults to 1.
        init_bias (float): First value of the learnable bias. Defaults to
            -10, as SigLIP: most pairs are negatives.
        chunk_size (int): See :func:`pairwise_sigmoid`. Defaults to 1024.
    """

    def __init__(
        self,
        loss_weight: float = 1.0,
        init_bias: float = -10.0,
        chunk_size: int = 1024,
    ) -> None:
        super().__init__()
        self.loss_weight = loss_weight
        self.chunk_size = chunk_size
        self.bias = nn.Parameter(torch.tensor(init_bias))

    def forward(
        self, regions: Tensor, texts: Tensor, groups: Tensor, scale: Tensor
    ) -> Tensor:
        """Computes the loss.

        Args:
            regions (Tensor): L2-normalised region embeddings, shape (R, D).
            texts (Tensor): Those of their lexemes or phrases, shape (R, D).
            groups (Tensor): Keys of the phrases, shape (R,), int64; equal
                ones are positives of each other.
            scale (Tensor): Temperature as a scale, scalar.

        Returns:
            Tensor: Scalar loss over the regions of all ranks, 0 when there
            are none.
        """
        loss = pairwise_sigmoid(
            regions, texts, groups, scale, self.bias, self.chunk_size
        )
        # Without any region the bias too wants its (zero) gradient.
        return self.loss_weight * (loss + self.bias * 0.0)


@MODELS.register_module()
class GlobalSigmoidLoss(RegionSigmoidLoss):
    """SigLIP's loss between images and captions, in place of GC's InfoNCE.

    Takes the arguments of :class:`RegionSigmoidLoss`.
    """

    def forward(self, image: Tensor, text: Tensor, scale: Tensor) -> Tensor:
        """Computes the loss.

        Args:
            image (Tensor): L2-normalised image embeddings, shape (B, D).
            text (Tensor): Those of the captions, shape (B, D).
            scale (Tensor): Temperature as a scale, scalar.

        Returns:
            Tensor: Scalar loss over the images of all ranks.
        """
        return super().forward(image, text, pair_groups(image), scale)
