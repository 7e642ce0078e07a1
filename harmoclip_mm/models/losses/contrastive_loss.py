"""CLIP's loss: which of all partners is mine?"""

from typing import Optional

from torch import Tensor, nn

from harmoclip_mm.registry import MODELS

from .info_nce import pair_groups, symmetric_info_nce


@MODELS.register_module()
class ContrastiveLoss(nn.Module):
    """Symmetric InfoNCE between the two sides of all pairs of all ranks.

    CLIP, arXiv 2103.00020, figure 3, with several positives: pairs of one
    group are positives of each other, targets uniform over them. Where the
    groups are phrases, the second "a dog" of a batch is never a negative of
    the first.

    Args:
        loss_weight (float): Weight of the loss. Defaults to 1.
        chunk_size (int): Side of the tiles in which similarities are worked
            off, see ``symmetric_info_nce``. Defaults to 1024.

    Attributes:
        needs_bias (bool): Whether logits are scaled cosines plus a bias.
    """

    needs_bias = False

    def __init__(
        self,
        loss_weight: float = 1.0,
        chunk_size: int = 1024,
    ) -> None:
        super().__init__()
        self.loss_weight = loss_weight
        self.chunk_size = chunk_size

    def forward(
        self,
        left: Tensor,
        right: Tensor,
        groups: Optional[Tensor],
        scale: Tensor,
        bias: Optional[Tensor] = None,
        weights: Optional[Tensor] = None,
    ) -> Tensor:
        """Computes the loss.

        Args:
            left (Tensor): L2-normalised embeddings of this rank, shape
                (n, D); n may be 0 and differ between ranks.
            right (Tensor): Their partners, shape (n, D).
            groups (Tensor, optional): Group of each pair, shape (n,), int64,
                comparable across ranks. None: each pair is by itself.
            scale (Tensor): Factor of the cosines, scalar.
            bias (Tensor, optional): Added to them, scalar.
            weights (Tensor, optional): How much each pair counts, shape
                (n,), at least 0: one of weight 2 counts as two equal pairs of
                its group. All ranks give them or none does; without them each
                pair counts 1.

        Returns:
            Tensor: Scalar loss over the pairs of all ranks, equal on all of
            them; 0 when there are none.
        """
        if groups is None:
            groups = pair_groups(left)
        return self.loss_weight * self.compare(
            left, right, groups, scale, bias, weights
        )

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
        loss = symmetric_info_nce(
            left, right, groups, scale, self.chunk_size, weights
        )
        # What is added to every logit leaves a softmax as it is. Its gradient
        # of 0 must be there: DistributedDataParallel waits for it.
        return loss if bias is None else loss + 0.0 * bias.to(loss.dtype)
