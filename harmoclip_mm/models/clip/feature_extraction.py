"""Computing what heads ask for, each feature once."""

from typing import Optional, Set

import torch
import torch.nn.functional as F
from mmdet.structures import SampleList
from torch import Tensor, nn

from ..utils import CLIPFeatures, collate_regions
from .phrase_features import phrase_features

# Fields of CLIPFeatures by what they are made of.
CROP_FEATURES = {'crops', 'online_crops', 'teacher_crops'}
TEACHER_FEATURES = {'teacher_crops', 'teacher_regions'}
CAPTION_FEATURES = {'image', 'text', 'lexemes'}
PHRASE_FEATURES = {'lexemes', 'phrases', 'phrase_keys'}


def check_texts(data_samples: SampleList, needs: Set[str]) -> None:
    """Refuses samples without the texts that features are made of.

    Args:
        data_samples (SampleList): Training samples.
        needs (Set[str]): Fields of ``CLIPFeatures`` wanted.

    Raises:
        ValueError: If a sample lacks ``caption_ids`` or ``phrase_ids``.
    """
    wanted = []
    if needs & (CAPTION_FEATURES | PHRASE_FEATURES):
        wanted.append('caption_ids')
    if needs & PHRASE_FEATURES:
        wanted.append('phrase_ids')
    for key in wanted:
        if not all(key in each for each in data_samples):
            raise ValueError(
                f'Training samples hold no {key}, which a head needs: the '
                'train pipeline needs TokenizeRegionText before '
                'PackRegionTextInputs, and phrases for its regions.'
            )


def extract_features(
    model: nn.Module,
    inputs: Tensor,
    data_samples: SampleList,
    needs: Set[str],
) -> CLIPFeatures:
    """Computes the features that heads ask for, each once.

    Args:
        model (nn.Module): The ``HarmoCLIP`` whose towers compute them.
        inputs (Tensor): Normalised images, shape (B, 3, H, W).
        data_samples (SampleList): Their samples, see ``HarmoCLIP.loss``.
        needs (Set[str]): Fields of ``CLIPFeatures`` wanted.

    Returns:
        CLIPFeatures: The features; fields not wanted are None.
    """
    scale, bias = model.logit_scale()
    found = dict(scale=scale, bias=bias)
    regions = None
    if needs & ({'regions'} | CROP_FEATURES | TEACHER_FEATURES):
        regions = collate_regions(
            data_samples, model.region_extractor.needs_masks
        )
    vision = model.backbone.encode(
        inputs,
        with_pooled='image' in needs,
        with_dense='regions' in needs and model.region_extractor.needs_dense,
    )
    if 'regions' in needs:
        found['regions'] = model.region_extractor(
            vision.dense, regions, inputs, model.backbone
        )
    if 'online_crops' in needs:
        found['online_crops'] = model.crop_extractor(
            None, regions, inputs, model.backbone
        )
    with torch.no_grad():
        if 'crops' in needs:
            found['crops'] = model.crop_extractor(
                None, regions, inputs, model.backbone
            )
        if 'teacher_crops' in needs:
            found['teacher_crops'] = model.crop_extractor(
                None, regions, inputs, model.teacher.backbone
            )
        if 'teacher_regions' in needs:
            found['teacher_regions'] = model.region_extractor(
                _dense_map(model, inputs),
                regions,
                inputs,
                model.teacher.backbone,
            )
    captions = None
    if needs & {'text', 'lexemes'}:
        captions = model.text_encoder(
            torch.cat([each.caption_ids[:1] for each in data_samples])
        )
    if 'text' in needs:
        found['text'] = F.normalize(captions.pooled, dim=-1)
    if 'image' in needs:
        # An image without a caption has no partner in GC.
        rows = zip(vision.pooled.split(1), data_samples)
        paired = [row[: len(each.caption_ids)] for row, each in rows]
        found['image'] = F.normalize(torch.cat(paired), dim=-1)
    if needs & PHRASE_FEATURES:
        found.update(
            phrase_features(model.text_encoder, data_samples, captions, needs)
        )
    return CLIPFeatures(**found)


def _dense_map(model: nn.Module, inputs: Tensor) -> Optional[Tensor]:
    """The teacher's map, None where the region extractor needs none."""
    if not model.region_extractor.needs_dense:
        return None
    return model.teacher.backbone.encode(inputs, with_pooled=False).dense
