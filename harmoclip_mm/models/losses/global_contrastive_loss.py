"""GC: CLIP's own loss between images and captions."""

from torch import Tensor, nn

from harmoclip_mm.registry import MODELS

from .info_nce import pair_groups, symmetric_info_nce


@MODELS.register_module()
class GlobalContrastiveLoss(nn.Module):
    """Symmetric InfoNCE between images and captions of the global batch.

    CLIP, arXiv 2103.00020, figure 3.

    Args:
        loss_weight (float): Weight of the loss. Defaults to 1.
        chunk_size (int): Side of the tiles in which similarities are worked
            off, see ``multi_positive_info_nce``. Defaults to 1024.
    """

    def __init__(
        self, loss_weight: float = 1.0, chunk_size: int = 1024
    ) -> None:
        super().__init__()
        self.loss_weight = loss_weight
        self.chunk_size = chunk_size

    def forward(self, image: Tensor, text: Tensor, scale: Tensor) -> Tensor:
        """Computes the loss.

        Args:
            image (Tensor): L2-normalised image embeddings, shape (B, D).
            text (Tensor): Those of the captions, shape (B, D).
            scale (Tensor): CLIP's temperature as a scale, scalar.

        Returns:
            Tensor: Scalar loss over the images of all ranks.
        """
        loss = symmetric_info_nce(
            image, text, pair_groups(image), scale, self.chunk_size
        )
        return self.loss_weight * loss
