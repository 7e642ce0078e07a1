"""GR head: regions against the global embedding spaces."""

from typing import Any, Dict, Optional

import torch
from torch import Tensor

from harmoclip_mm.errors import check_choice
from harmoclip_mm.registry import MODELS

from ..losses.concept_distillation_loss import pool_concepts
from ..utils import CLIPFeatures, gather_rows
from .base_head import BaseContrastiveHead

MODES = ('text', 'crop', 'both')
# Who encodes crops, and the field of `CLIPFeatures` that they are in.
CROP_ENCODERS = {
    'detached': 'crops',
    'online': 'online_crops',
    'teacher': 'teacher_crops',
}


@torch.no_grad()
def phrase_fit(features: CLIPFeatures) -> Tensor:
    """How well phrases fit their regions, to the teacher.

    Args:
        features (CLIPFeatures): With ``teacher_crops``, ``phrases`` and
            ``phrase_keys`` of R regions.

    Returns:
        Tensor: Probability of each region's phrase among the distinct ones
        of all ranks, at the CLIP's scale, shape (R,), in [0, 1].
    """
    crops, phrases = features.teacher_crops, features.phrases
    if crops.dtype != torch.float64:
        crops, phrases = crops.float(), phrases.float()
    keys, offset = gather_rows(features.phrase_keys)
    with torch.autocast(crops.device.type, enabled=False):
        concepts, place = pool_concepts(gather_rows(phrases).rows, keys)
        chances = (features.scale * crops @ concepts.t()).softmax(dim=1)
    own = place[offset : offset + len(crops)]
    return chances.gather(1, own[:, None])[:, 0]


@MODELS.register_module()
class RegionAlignmentHead(BaseContrastiveHead):
    """Ties regions to whole texts, to whole images, or to both.

    A reconstruction of HarmoCLIP's GR (arXiv 2511.22594), whose formula is
    not public to us. The sum of two terms:

    - text: the contrast of regions and the embeddings of their phrases read
      alone, the space that zero-shot box classification uses; a region counts
      as much as its link is sure (``weights``);
    - crop: the distance of regions and the image embeddings of their crops,
      which no link can make wrong.

    Args:
        mode (str): ``'text'``, ``'crop'`` or ``'both'``. Defaults to
            ``'text'``.
        loss (dict, optional): Config of the loss of the text term, see the
            base class; pairs of equal normalised phrases are one group.
        crop_loss (dict, optional): Config of the loss of the crop term,
            ``CropDistanceLoss`` where it has no ``type``, the default.
        temperature (str): ``'own'`` or ``'shared'``, see the base class.
            Mode ``'crop'`` has none. Defaults to ``'shared'``.
        crop_encoder (str): Who encodes crops: ``'detached'``, the model
            itself, without gradient; ``'online'``, the model itself, with
            gradient (FineCLIP); ``'teacher'``, its vision tower as it was
            before training (CLIPSelf). Defaults to ``'detached'``.
        weigh_fit (bool): Whether in the text term a region counts the more
            the better its phrase fits its crop, to the vision tower as it
            was before training: by the probability of the phrase among all
            of the global batch. A reconstruction of what SFF-CLIP does about
            wrong links, whose formula is not public to us. Defaults to
            False.
        **kwargs: Other arguments of :class:`BaseContrastiveHead`.

    Raises:
        ValueError: If ``mode`` or ``crop_encoder`` is unknown.
    """

    def __init__(
        self,
        mode: str = 'text',
        loss: Optional[Dict] = None,
        crop_loss: Optional[Dict] = None,
        temperature: str = 'shared',
        crop_encoder: str = 'detached',
        weigh_fit: bool = False,
        **kwargs: Any,
    ) -> None:
        name = 'RegionAlignmentHead'
        check_choice(name, 'mode', mode, MODES)
        check_choice(name, 'crop_encoder', crop_encoder, CROP_ENCODERS)
        super().__init__(loss, temperature, **kwargs)
        self.requires = frozenset({'regions'})
        self.crop_loss = None
        self.weigh_fit = weigh_fit and mode != 'crop'
        if self.weigh_fit:
            self.requires |= {'teacher_crops'}
        if mode == 'crop':  # no contrast, and no parameters that none trains
            self.loss_module = self.logit_scale = self.bias = None
        else:
            self.requires |= {'phrases', 'phrase_keys', 'weights'}
        if mode != 'text':
            self.crops = CROP_ENCODERS[crop_encoder]
            self.requires |= {self.crops}
            default = 'harmoclip_mm.CropDistanceLoss'
            self.crop_loss = MODELS.build(
                {'type': default, **(crop_loss or {})}
            )

    def loss(self, features: CLIPFeatures) -> Dict[str, Tensor]:
        """Returns ``loss_gr``; see the base class."""
        terms = []
        if self.loss_module is not None:
            weights = features.weights
            if self.weigh_fit:
                weights = weights * phrase_fit(features)
            terms.append(
                self.loss_module(
                    features.regions,
                    features.phrases,
                    features.phrase_keys,
                    *self.temperature(features),
                    weights=weights,
                )
            )
        if self.crop_loss is not None:
            crops = getattr(features, self.crops)
            terms.append(self.crop_loss(features.regions, crops))
        return dict(loss_gr=sum(terms))
