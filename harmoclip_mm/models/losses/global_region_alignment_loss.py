"""GR: regions against the global embedding spaces."""

from typing import Optional

import torch.nn.functional as F
from torch import Tensor, nn

from harmoclip_mm.registry import MODELS

from ..utils import RowExchange, global_mean
from .info_nce import symmetric_info_nce


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
class GlobalRegionAlignmentLoss(nn.Module):
    """Ties regions to the spaces of whole texts and whole images.

    A reconstruction of HarmoCLIP's GR (arXiv 2511.22594), whose formula is
    not public to us. Two terms, each computed when its target is given:

    - text: symmetric InfoNCE between regions and the EOT embeddings of
      their phrases over the global batch; equal phrases are positives of
      each other. This is the space that zero-shot box classification uses.
    - crop: mean cosine distance between regions and the image embeddings of
      their crops.

    Args:
        text_weight (float): Weight of the text term. Defaults to 1.
        crop_weight (float): Weight of the crop term. Defaults to 1.
        loss_weight (float): Weight of their sum. Defaults to 1.
        chunk_size (int): Side of the tiles in which similarities are worked
            off, see ``multi_positive_info_nce``. Defaults to 1024.
    """

    def __init__(
        self,
        text_weight: float = 1.0,
        crop_weight: float = 1.0,
        loss_weight: float = 1.0,
        chunk_size: int = 1024,
    ) -> None:
        super().__init__()
        self.text_weight = text_weight
        self.crop_weight = crop_weight
        self.loss_weight = loss_weight
        self.chunk_size = chunk_size

    def forward(
        self,
        regions: Tensor,
        phrase_keys: Optional[Tensor],
        scale: Tensor,
        phrases: Optional[Tensor] = None,
        crops: Optional[Tensor] = None,
    ) -> Tensor:
        """Computes the loss.

        Args:
            regions (Tensor): L2-normalised region embeddings, shape (R, D).
            phrase_keys (Tensor, optional): Keys of their phrases, shape
                (R,), int64; only the text term needs them.
            scale (Tensor): Temperature of the text term as a scale, scalar.
            phrases (Tensor, optional): EOT embeddings of their phrases,
                shape (R, D).
            crops (Tensor, optional): Image embeddings of their crops,
                shape (R, D).

        Returns:
            Tensor: Scalar loss over the regions of all ranks, 0 when there
            are none.
        """
        loss = regions.sum() * 0.0
        if phrases is not None:
            text = symmetric_info_nce(
                regions, phrases, phrase_keys, scale, self.chunk_size
            )
            loss = loss + self.text_weight * text
        if crops is not None:
            count = RowExchange(regions).total
            crop = global_mean(cosine_distance(regions, crops), count)
            loss = loss + self.crop_weight * crop
        return self.loss_weight * loss
