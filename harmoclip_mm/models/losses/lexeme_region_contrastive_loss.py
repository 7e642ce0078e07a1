"""LRC: regions against lexemes in the text token space."""

from torch import Tensor, nn

from harmoclip_mm.registry import MODELS

from .info_nce import pair_groups, symmetric_info_nce

POSITIVES = ('phrase', 'pair')


@MODELS.register_module()
class LexemeRegionContrastiveLoss(nn.Module):
    """Symmetric InfoNCE between regions and lexemes of the global batch.

    A reconstruction of HarmoCLIP's LRC (arXiv 2511.22594), whose formula is
    not public to us. Pairs whose normalised phrases are equal are positives
    of each other, targets uniform over them: the second "a dog" of a batch
    is never a negative of the first.

    Args:
        positives (str): ``'phrase'`` for the above, ``'pair'`` for CLIP's
            one positive a row. Defaults to ``'phrase'``.
        loss_weight (float): Weight of the loss. Defaults to 1.
        chunk_size (int): Side of the tiles in which similarities are worked
            off, see ``multi_positive_info_nce``. Defaults to 1024.

    Raises:
        ValueError: If ``positives`` is unknown.
    """

    def __init__(
        self,
        positives: str = 'phrase',
        loss_weight: float = 1.0,
        chunk_size: int = 1024,
    ) -> None:
        super().__init__()
        if positives not in POSITIVES:
            raise ValueError(
                f'{type(self).__name__} knows no positives={positives!r}; '
                f'choose one of {", ".join(map(repr, POSITIVES))}.'
            )
        self.positives = positives
        self.loss_weight = loss_weight
        self.chunk_size = chunk_size

    def forward(
        self,
        regions: Tensor,
        lexemes: Tensor,
        phrase_keys: Tensor,
        scale: Tensor,
    ) -> Tensor:
        """Computes the loss.

        Args:
            regions (Tensor): L2-normalised region embeddings, shape (R, D).
            lexemes (Tensor): Those of their lexemes, shape (R, D).
            phrase_keys (Tensor): Keys of their phrases, shape (R,), int64.
            scale (Tensor): Temperature as a scale, scalar.

        Returns:
            Tensor: Scalar loss over the regions of all ranks, 0 when there
            are none.
        """
        groups = (
            phrase_keys if self.positives == 'phrase' else pair_groups(regions)
        )
        loss = symmetric_info_nce(
            regions, lexemes, groups, scale, self.chunk_size
        )
        return self.loss_weight * loss
