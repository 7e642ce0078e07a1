"""Heads of one loss each: GC, LRC, hard negatives, KD."""

from typing import Any, Dict, Optional

from torch import Tensor

from harmoclip_mm.errors import check_choice
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


@MODELS.register_module()
class RegionPhraseHead(BaseContrastiveHead):
    """Contrasts regions with lexemes in the text token space.

    A lexeme is the mean of the projected tokens of the phrase's span in the
    caption; a phrase that is a text of its own is pooled over its own
    tokens. ``HarmoCLIP`` computes them. A region counts as much as its link
    is sure (``weights``). A reconstruction of HarmoCLIP's LRC (arXiv
    2511.22594), whose formula is not public to us.

    Args:
        loss (dict, optional): Config of the loss, see the base class.
        temperature (str): ``'own'`` or ``'shared'``, see the base class.
            Defaults to ``'own'``.
        positives (str): Which lexemes are a region's positives: with
            ``'lexeme'`` those that are its own, the same words at the same
            place of the same caption; with ``'phrase'`` those of an equal
            normalised phrase in any caption. A lexeme has read its caption,
            which may tell what its phrase does not: of "in red a circle and
            in blue a circle" the circles differ. Defaults to ``'lexeme'``.
        **kwargs: Other arguments of :class:`BaseContrastiveHead`.

    Raises:
        ValueError: If ``positives`` is unknown.
    """

    usual_temperature = 'own'

    def __init__(
        self,
        loss: Optional[Dict] = None,
        temperature: Optional[str] = None,
        positives: str = 'lexeme',
        **kwargs: Any,
    ) -> None:
        check_choice(
            type(self).__name__, 'positives', positives, ('lexeme', 'phrase')
        )
        super().__init__(loss, temperature, **kwargs)
        self.keys = f'{positives}_keys'
        self.requires = frozenset({'regions', 'lexemes', 'weights', self.keys})

    def loss(self, features: CLIPFeatures) -> Dict[str, Tensor]:
        """Returns ``loss_lrc``; see the base class."""
        loss = self.loss_module(
            features.regions,
            features.lexemes,
            getattr(features, self.keys),
            *self.temperature(features),
            weights=features.weights,
        )
        return dict(loss_lrc=loss)


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
