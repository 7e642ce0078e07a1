"""GC head: whole images against whole captions."""

from typing import Dict

from torch import Tensor

from harmoclip_mm.registry import MODELS

from ..utils import CLIPFeatures
from .base_head import BaseContrastiveHead


@MODELS.register_module()
class GlobalContrastiveHead(BaseContrastiveHead):
    """CLIP's contrast of images and captions, each pair by itself.

    Takes the arguments of :class:`BaseContrastiveHead`.
    """

    requires = frozenset({'image', 'text'})

    def loss(self, features: CLIPFeatures) -> Dict[str, Tensor]:
        """Returns ``loss_gc``; see the base class."""
        loss = self.loss_module(
            features.image, features.text, None, *self.temperature(features)
        )
        return dict(loss_gc=loss)
