"""KD head: regions against what a frozen teacher sees in them."""

from typing import Any, Dict, Optional

from torch import Tensor

from harmoclip_mm.registry import MODELS

from ..utils import CLIPFeatures
from .base_head import BaseContrastiveHead


@MODELS.register_module()
class ConceptDistillationHead(BaseContrastiveHead):
    """Keeps regions close to a frozen teacher's opinion of their crops.

    The teacher is the vision tower as it was before training. Both compare
    the region with the phrases of the global batch (RegionCLIP, arXiv
    2112.09106), at the CLIP's scale, which this loss does not train; a bias
    would leave its softmax as it is.

    Args:
        loss (dict, optional): Config of the loss. Defaults to
            ``ConceptDistillationLoss``.
        **kwargs: Other arguments of :class:`BaseContrastiveHead`, but for
            the temperature.
    """

    requires = frozenset(
        {'regions', 'phrases', 'phrase_keys', 'teacher_crops'}
    )
    loss_type = 'harmoclip_mm.ConceptDistillationLoss'

    def __init__(self, loss: Optional[Dict] = None, **kwargs: Any) -> None:
        super().__init__(loss, 'shared', **kwargs)

    def loss(self, features: CLIPFeatures) -> Dict[str, Tensor]:
        """Returns ``loss_kd``; see the base class."""
        loss = self.loss_module(
            features.regions,
            features.teacher_crops,
            features.phrases,
            features.phrase_keys,
            features.scale.detach(),
        )
        return dict(loss_kd=loss)
