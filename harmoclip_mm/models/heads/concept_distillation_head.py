"""KD head: regions against what a frozen teacher sees in them."""

from typing import Any, Dict

from torch import Tensor

from harmoclip_mm.errors import check_choice
from harmoclip_mm.registry import MODELS

from ..utils import CLIPFeatures
from .base_head import BaseContrastiveHead

# What the teacher looks at, and the field of `CLIPFeatures` that it is in.
VIEWS = {'crop': 'teacher_crops', 'region': 'teacher_regions'}


@MODELS.register_module()
class ConceptDistillationHead(BaseContrastiveHead):
    """Keeps regions close to a frozen teacher's opinion of them.

    The teacher is the vision tower as it was before training. Both compare
    the region with the phrases of the global batch (RegionCLIP, arXiv
    2112.09106), at the CLIP's scale, which this loss does not train; a bias
    would leave its softmax as it is.

    Args:
        view (str): What the teacher looks at: ``'crop'``, the region's crop,
            or ``'region'``, the region pooled from its dense map. Defaults
            to ``'crop'``.
        loss (dict, optional): Config of the loss. Defaults to
            ``ConceptDistillationLoss``.
        **kwargs: Other arguments of :class:`BaseContrastiveHead`, but for
            the temperature.

    Raises:
        ValueError: If ``view`` is unknown.
    """

    loss_type = 'harmoclip_mm.ConceptDistillationLoss'

    def __init__(self, view: str = 'crop', **kwargs: Any) -> None:
        check_choice('ConceptDistillationHead', 'view', view, VIEWS)
        super().__init__(temperature='shared', **kwargs)
        self.teacher = VIEWS[view]
        self.requires = frozenset(
            {'regions', 'phrases', 'phrase_keys', self.teacher}
        )

    def loss(self, features: CLIPFeatures) -> Dict[str, Tensor]:
        """Returns ``loss_kd``; see the base class."""
        loss = self.loss_module(
            features.regions,
            getattr(features, self.teacher),
            features.phrases,
            features.phrase_keys,
            features.scale.detach(),
        )
        return dict(loss_kd=loss)
