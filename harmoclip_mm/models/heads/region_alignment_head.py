"""GR head: regions against the global embedding spaces."""

from typing import Dict, Optional

from torch import Tensor

from harmoclip_mm.registry import MODELS

from ..utils import CLIPFeatures
from .base_head import BaseContrastiveHead

MODES = {
    'text': frozenset({'phrases'}),
    'crop': frozenset({'crops'}),
    'both': frozenset({'phrases', 'crops'}),
}


@MODELS.register_module()
class RegionAlignmentHead(BaseContrastiveHead):
    """Ties regions to whole texts, to whole images, or to both.

    Args:
        mode (str): ``'text'`` aligns a region with the EOT embedding of its
            phrase read alone, ``'crop'`` with the image embedding of its
            crop, ``'both'`` with both. Defaults to ``'text'``.
        loss (dict, optional): Config of the loss. Defaults to
            ``GlobalRegionAlignmentLoss``.
        temperature (str): ``'own'`` or ``'shared'``, see the base class; of
            no meaning in mode ``'crop'``. Defaults to ``'shared'``.
        init_cfg (dict, optional): Initialisation config.

    Raises:
        ValueError: If ``mode`` is unknown.
    """

    def __init__(
        self,
        mode: str = 'text',
        loss: Optional[Dict] = None,
        temperature: str = 'shared',
        init_cfg: Optional[Dict] = None,
    ) -> None:
        if mode not in MODES:
            raise ValueError(
                f'RegionAlignmentHead knows no mode {mode!r}; choose one of '
                f'{", ".join(map(repr, MODES))}.'
            )
        super().__init__(
            loss or dict(type='GlobalRegionAlignmentLoss'),
            temperature,
            init_cfg,
        )
        self.mode = mode
        self.requires = MODES[mode] | {'regions', 'phrase_keys'}

    def loss(self, features: CLIPFeatures) -> Dict[str, Tensor]:
        """Returns ``loss_gr``; see the base class."""
        loss = self.loss_module(
            features.regions,
            features.phrase_keys,
            self.scale(features),
            phrases=features.phrases,
            crops=features.crops,
        )
        return dict(loss_gr=loss)
