"""LRC head: regions against the lexemes of their captions."""

from typing import Dict, Optional

from torch import Tensor

from harmoclip_mm.registry import MODELS

from ..utils import CLIPFeatures
from .base_head import BaseContrastiveHead


@MODELS.register_module()
class RegionPhraseHead(BaseContrastiveHead):
    """Contrasts regions with lexemes in the text token space.

    A lexeme is the mean of the projected tokens of the phrase's span in the
    caption; a phrase that is a text of its own is pooled over its own
    tokens. ``HarmoCLIP`` computes them.

    Args:
        loss (dict, optional): Config of the loss. Defaults to
            ``LexemeRegionContrastiveLoss``.
        temperature (str): ``'own'`` or ``'shared'``, see the base class.
            Defaults to ``'own'``.
        init_cfg (dict, optional): Initialisation config.
    """

    requires = frozenset({'regions', 'lexemes', 'phrase_keys'})

    def __init__(
        self,
        loss: Optional[Dict] = None,
        temperature: str = 'own',
        init_cfg: Optional[Dict] = None,
    ) -> None:
        super().__init__(
            loss or dict(type='LexemeRegionContrastiveLoss'),
            temperature,
            init_cfg,
        )

    def loss(self, features: CLIPFeatures) -> Dict[str, Tensor]:
        """Returns ``loss_lrc``; see the base class."""
        loss = self.loss_module(
            features.regions,
            features.lexemes,
            features.phrase_keys,
            self.scale(features),
        )
        return dict(loss_lrc=loss)
