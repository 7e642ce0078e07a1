"""Heads: what they ask for, and that they hand it to their loss."""

import math

import pytest
import torch
import torch.nn.functional as F

from harmoclip_mm.models import (
    ConceptDistillationHead,
    ConceptDistillationLoss,
    GlobalContrastiveHead,
    GlobalContrastiveLoss,
    GlobalRegionAlignmentLoss,
    LexemeRegionContrastiveLoss,
    RegionAlignmentHead,
    RegionPhraseHead,
)
from harmoclip_mm.models.utils import CLIPFeatures


@pytest.fixture
def features():
    rows = F.normalize(torch.randn(6, 5, 8), dim=-1)
    return CLIPFeatures(
        torch.tensor(9.0), *rows, phrase_keys=torch.tensor([3, 3, 4, 5, 6])
    )


def test_global_contrastive_head(features):
    head = GlobalContrastiveHead()
    assert head.requires == {'image', 'text'}
    expected = GlobalContrastiveLoss()(
        features.image, features.text, torch.tensor(9.0)
    )
    assert head.loss(features) == dict(loss_gc=expected)


def test_region_phrase_head_has_its_own_temperature(features):
    head = RegionPhraseHead()
    assert head.requires == {'regions', 'lexemes', 'phrase_keys'}
    assert head.scale(features).item() == pytest.approx(1 / 0.07)
    args = (features.regions, features.lexemes, features.phrase_keys)
    expected = LexemeRegionContrastiveLoss()(*args, head.logit_scale())
    torch.testing.assert_close(head.loss(features)['loss_lrc'], expected)
    shared = RegionPhraseHead(temperature='shared')
    assert not list(shared.parameters())
    expected = LexemeRegionContrastiveLoss()(*args, torch.tensor(9.0))
    torch.testing.assert_close(shared.loss(features)['loss_lrc'], expected)


@pytest.mark.parametrize(
    ('mode', 'targets'),
    [
        ('text', {'phrases', 'phrase_keys'}),
        ('crop', {'crops'}),
        ('both', {'phrases', 'phrase_keys', 'crops'}),
    ],
)
def test_region_alignment_head(features, mode, targets):
    head = RegionAlignmentHead(mode)
    assert head.requires == {'regions'} | targets
    given = {name: getattr(features, name) for name in targets}
    given.setdefault('phrase_keys', None)
    expected = GlobalRegionAlignmentLoss()(
        features.regions, scale=torch.tensor(9.0), **given
    )
    # The model computes what is required only; the rest is None.
    absent = {'phrases', 'crops', 'phrase_keys'} - targets
    features = features._replace(**dict.fromkeys(absent))
    torch.testing.assert_close(head.loss(features)['loss_gr'], expected)


@pytest.mark.parametrize(
    ('encoder', 'field'),
    [
        ('detached', 'crops'),
        ('online', 'online_crops'),
        ('teacher', 'teacher_crops'),
    ],
)
def test_the_crop_encoder_decides_the_feature(features, encoder, field):
    head = RegionAlignmentHead('crop', crop_encoder=encoder)
    assert head.requires == {'regions', field}
    crops = F.normalize(torch.randn(5, 8), dim=-1)
    given = CLIPFeatures(
        torch.tensor(9.0), regions=features.regions, **{field: crops}
    )
    expected = (1 - (features.regions * crops).sum(1)).mean()
    torch.testing.assert_close(head.loss(given)['loss_gr'], expected)
    text = RegionAlignmentHead('text', crop_encoder=encoder)
    assert not text.requires & {'crops', 'online_crops', 'teacher_crops'}


@pytest.mark.parametrize(
    ('view', 'field'),
    [('crop', 'teacher_crops'), ('region', 'teacher_regions')],
)
def test_concept_distillation_head(features, view, field):
    head = ConceptDistillationHead(view)
    assert head.requires == {'regions', 'phrases', 'phrase_keys', field}
    teacher = F.normalize(torch.randn(5, 8), dim=-1)
    scale = torch.tensor(9.0, requires_grad=True)
    features = features._replace(**{field: teacher}, logit_scale=scale)
    expected = ConceptDistillationLoss()(
        features.regions,
        teacher,
        features.phrases,
        features.phrase_keys,
        torch.tensor(9.0),
    )
    loss = head.loss(features)['loss_kd']
    torch.testing.assert_close(loss, expected)
    assert not loss.requires_grad  # the temperature is not trained by it


def test_unknown_modes():
    with pytest.raises(ValueError, match=r"crop_encoder 'ema'.*'teacher'"):
        RegionAlignmentHead('crop', crop_encoder='ema')
    with pytest.raises(ValueError, match=r"view 'image'.*'crop', 'region'"):
        ConceptDistillationHead('image')
    with pytest.raises(ValueError, match=r"mode 'txt'.*'text', 'crop'"):
        RegionAlignmentHead('txt')
    with pytest.raises(ValueError, match=r"temperature='mine'.*'own'"):
        RegionPhraseHead(temperature='mine')


def test_temperature_is_bounded_and_comes_back():
    head = RegionPhraseHead().train()
    with torch.no_grad():
        head.logit_scale.log_scale.fill_(math.log(300.0))
    scale = head.logit_scale()
    assert scale.item() == pytest.approx(100.0)
    scale.backward()
    assert head.logit_scale.log_scale.grad.item() == pytest.approx(100.0)
