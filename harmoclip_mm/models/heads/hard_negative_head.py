"""Hard negative head: regions against texts that are almost theirs."""

from typing import Dict

from torch import Tensor

from harmoclip_mm.registry import MODELS

from ..utils import CLIPFeatures
from .base_head import BaseContrastiveHead


@MODELS.register_module()
class HardNegativeHead(BaseContrastiveHead):
    """Tells a region's phrase from the same phrase with a word exchanged.

    The hard fine-grained negatives of FG-CLIP (arXiv 2505.05071), whose
    texts come with the data or from ``ExchangeWords``; ``TokenizeRegionText``
    needs ``negatives`` above 0.

    Args:
        loss (dict, optional): Config of the loss. Defaults to
            ``HardNegativeLoss``.
        temperature (str): ``'own'`` or ``'shared'``, see the base class; a
            bias would leave the softmax as it is. Defaults to ``'own'``, as
            in FG-CLIP's code.
        **kwargs: Other arguments of :class:`BaseContrastiveHead`.
    """

    requires = frozenset({'regions', 'phrases', 'negatives', 'weights'})
    loss_type = 'harmoclip_mm.HardNegativeLoss'
    usual_temperature = 'own'

    def loss(self, features: CLIPFeatures) -> Dict[str, Tensor]:
        """Returns ``loss_hard``; see the base class."""
        loss = self.loss_module(
            features.regions,
            features.phrases,
            features.negatives,
            features.negative_masks,
            self.temperature(features)[0],
            features.weights,
        )
        return dict(loss_hard=loss)
