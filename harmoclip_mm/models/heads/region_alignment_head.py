"""GR head: regions against the global embedding spaces."""

from typing import Dict, Optional

from torch import Tensor

from harmoclip_mm.registry import MODELS

from ..utils import CLIPFeatures
from .base_head import BaseContrastiveHead

MODES = ('text', 'crop', 'both')
# Who encodes crops, and the field of `CLIPFeatures` that they are in.
CROP_ENCODERS = {
    'detached': 'crops',
    'online': 'online_crops',
    'teacher': 'teacher_crops',
}


@MODELS.register_module()
class RegionAlignmentHead(BaseContrastiveHead):
    """Ties regions to whole texts, to whole images, or to both.

    Args:
        mode (str): ``'text'`` aligns a region with the EOT embedding of its
            phrase read alone, ``'crop'`` with the image embedding of its
            crop, ``'both'`` with both. Defaults to ``'text'``.
        crop_encoder (str): Who encodes the crops of modes ``'crop'`` and
            ``'both'``: ``'detached'``, the model itself, without gradient;
            ``'online'``, the model itself, with gradient (FineCLIP);
            ``'teacher'``, its vision tower as it was before training
            (CLIPSelf). Defaults to ``'detached'``.
        loss (dict, optional): Config of the loss. Defaults to
            ``GlobalRegionAlignmentLoss``.
        temperature (str): ``'own'`` or ``'shared'``, see the base class; of
            no meaning in mode ``'crop'``. Defaults to ``'shared'``.
        init_cfg (dict, optional): Initialisation config.

    Raises:
        ValueError: If ``mode`` or ``crop_encoder`` is unknown.
    """

    def __init__(
        self,
        mode: str = 'text',
        loss: Optional[Dict] = None,
        temperature: str = 'shared',
        init_cfg: Optional[Dict] = None,
        crop_encoder: str = 'detached',
    ) -> None:
        for name, value, known in (
            ('mode', mode, MODES),
            ('crop_encoder', crop_encoder, CROP_ENCODERS),
        ):
            if value not in known:
                raise ValueError(
                    f'RegionAlignmentHead knows no {name} {value!r}; choose '
                    f'one of {", ".join(map(repr, known))}.'
                )
        super().__init__(
            loss or dict(type='GlobalRegionAlignmentLoss'),
            temperature,
            init_cfg,
        )
        self.mode = mode
        self.requires = frozenset({'regions'})
        if mode != 'crop':
            self.requires |= {'phrases', 'phrase_keys'}
        self.crops = None if mode == 'text' else CROP_ENCODERS[crop_encoder]
        if self.crops is not None:
            self.requires |= {self.crops}

    def loss(self, features: CLIPFeatures) -> Dict[str, Tensor]:
        """Returns ``loss_gr``; see the base class."""
        loss = self.loss_module(
            features.regions,
            features.phrase_keys,
            self.scale(features),
            phrases=features.phrases if self.mode != 'crop' else None,
            crops=self.crops and getattr(features, self.crops),
        )
        return dict(loss_gr=loss)
