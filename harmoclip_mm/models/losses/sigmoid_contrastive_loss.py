"""SigLIP's loss: every pair is a question of yes or no."""

from typing import Any, Optional, Tuple

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.autograd.function import once_differentiable

from harmoclip_mm.registry import MODELS

from ..utils import RowExchange, global_mean
from .contrastive_loss import ContrastiveLoss
from .info_nce import tiles
from .row_record import record_rows


class _PairwiseSigmoid(torch.autograd.Function):
    """Sum over this rank's rows and all ranks' columns, as in ``info_nce.py``
    by tiles of columns that are gathered in pieces.

    A pair's gradient needs no other pair, unlike that of a softmax. So it is
    made beside the pair's loss, and the backward computes no tile again.
    """

    @staticmethod
    def forward(
        ctx: Any,
        left: Tensor,
        right: Tensor,
        scale: Tensor,
        bias: Tensor,
        left_groups: Tensor,
        right_groups: Tensor,
        exchange: RowExchange,
        chunk_size: int,
        left_weights: Optional[Tensor],
        right_weights: Optional[Tensor],
    ) -> Tensor:
        width = max(chunk_size, chunk_size**2 // max(len(left), 1))
        scaled = left * scale
        rows, grad_bias = left.new_zeros(len(left)), torch.zeros_like(bias)
        grad_scaled = torch.zeros_like(left)
        grad_right = torch.empty_like(right)
        for part, groups, weights, part_grad in tiles(
            exchange,
            width,
            right,
            right_groups,
            right_weights,
            grad=grad_right,
        ):
            positive = left_groups[:, None] == groups
            # Logits that are the larger the more wrong they are.
            sign = 1 - 2 * positive.to(left.dtype)
            wrong = torch.addmm(bias, scaled, part.t()).mul_(sign)
            losses = F.logsigmoid(-wrong)
            if weights is not None:
                pair_weights = left_weights[:, None] * weights
                losses.mul_(pair_weights)
                sign.mul_(pair_weights)
            rows -= losses.sum(1)
            grad = wrong.sigmoid_().mul_(sign)
            grad_bias += grad.sum()
            grad_scaled.addmm_(grad, part)
            torch.mm(grad.t(), scaled, out=part_grad)
        grad_scale = (grad_scaled * left).sum()
        ctx.save_for_backward(
            grad_scaled.mul_(scale), grad_right, grad_scale, grad_bias
        )
        record_rows(rows)
        return rows.sum()

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> Tuple[Optional[Tensor], ...]:
        return (*(grad * each for each in ctx.saved_tensors), *[None] * 6)


def pairwise_sigmoid(
    left: Tensor,
    right: Tensor,
    groups: Tensor,
    scale: Tensor,
    bias: Tensor,
    chunk_size: int = 1024,
    weights: Optional[Tensor] = None,
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
        chunk_size (int): See ``symmetric_info_nce``. Defaults to 1024.
        weights (Tensor, optional): How much each row counts, shape (n,): the
            loss of a pair counts with the product of its two weights, and the
            number of rows is their sum. Defaults to 1 each.

    Returns:
        Tensor: The loss, scalar, equal on all ranks (see ``global_mean``);
        without any row 0, with gradients of 0.
    """
    with torch.autocast(device_type=left.device.type, enabled=False):
        if left.dtype != torch.float64:
            left, right = left.float(), right.float()
            scale, bias = scale.float(), bias.float()
        exchange = RowExchange(groups)
        count, right_weights = exchange.total, None
        if weights is not None:
            weights = weights.to(left.dtype)
            right_weights = exchange.gather(weights)
            count = right_weights.sum()
        local = _PairwiseSigmoid.apply(
            left,
            right,
            scale,
            bias,
            groups,
            exchange.gather(groups),
            exchange,
            chunk_size,
            weights,
            right_weights,
        )
        return global_mean(local, count)


@MODELS.register_module()
class SigmoidContrastiveLoss(ContrastiveLoss):
    """SigLIP's loss between the two sides of all pairs of all ranks.

    Each left row is asked about each right one: pairs of one group are a yes,
    all others a no (:func:`pairwise_sigmoid`). Takes the arguments of
    :class:`ContrastiveLoss`, and needs a bias.
    """

    needs_bias = True

    def compare(
        self,
        left: Tensor,
        right: Tensor,
        groups: Tensor,
        scale: Tensor,
        bias: Optional[Tensor],
        weights: Optional[Tensor] = None,
    ) -> Tensor:
        """The loss without its weight; arguments as of :meth:`forward`."""
        if bias is None:
            raise ValueError(
                'SigmoidContrastiveLoss needs a bias (SigLIP starts at -10); '
                'a head hands it over by *self.temperature(features).'
            )
        return pairwise_sigmoid(
            left, right, groups, scale, bias, self.chunk_size, weights
        )
