"""GC head: whole images against whole captions."""

from typing import Dict, Optional

from torch import Tensor

from harmoclip_mm.registry import MODELS

from ..utils import CLIPFeatures
from .base_head import BaseContrastiveHead


@MODELS.register_module()
class GlobalContrastiveHead(BaseContrastiveHead):
    """CLIP's contrast of images and captions, with CLIP's temperature.

    Args:
        loss (dict, optional): Config of the loss. Defaults to
            ``GlobalContrastiveLoss``.
        init_cfg (dict, optional): Initialisation config.
    """

    requires = frozenset({'image', 'text'})

    def __init__(
        self, loss: Optional[Dict] = None, init_cfg: Optional[Dict] = None
    ) -> None:
        super().__init__(
            loss or dict(type='GlobalContrastiveLoss'), 'shared', init_cfg
        )

    def loss(self, features: CLIPFeatures) -> Dict[str, Tensor]:
        """Returns ``loss_gc``; see the base class."""
        loss = self.loss_module(
            features.image, features.text, self.scale(features)
        )
        return dict(loss_gc=loss)
