"""LRC head: regions against the lexemes of their captions."""

from typing import Dict

from torch import Tensor

from harmoclip_mm.registry import MODELS

from ..utils import CLIPFeatures
from .base_head import BaseContrastiveHead


@MODELS.register_module()
class RegionPhraseHead(BaseContrastiveHead):
    """Contrasts regions with lexemes in the text token space.

    A lexeme is the mean of the projected tokens of the phrase's span in the
    caption; a phrase that is a text of its own is pooled over its own
    tokens. ``HarmoCLIP`` computes them. A region counts as much as its link
    is sure (``weights``). A reconstruction of HarmoCLIP's LRC (arXiv
    2511.22594), whose formula is not public to us.

    Args:
        loss (dict, optional): Config of the loss, see the base class; pairs
            of equal normalised phrases are one group.
        temperature (str): ``'own'`` or ``'shared'``, see the base class.
            Defaults to ``'own'``.
        **kwargs: Other arguments of :class:`BaseContrastiveHead`.
    """

    requires = frozenset({'regions', 'lexemes', 'phrase_keys', 'weights'})
    usual_temperature = 'own'

    def loss(self, features: CLIPFeatures) -> Dict[str, Tensor]:
        """Returns ``loss_lrc``; see the base class."""
        loss = self.loss_module(
            features.regions,
            features.lexemes,
            features.phrase_keys,
            *self.temperature(features),
            weights=features.weights,
        )
        return dict(loss_lrc=loss)
