"""Heads: what they ask for, and that they hand it to their loss."""

import pytest
import torch
import torch.nn.functional as F

from harmoclip_mm.models.heads import (
    BaseContrastiveHead,
    GlobalContrastiveHead,
    HardNegativeHead,
    RegionAlignmentHead,
    RegionPhraseHead,
)
from harmoclip_mm.models.losses import (
    ConceptDistillationLoss,
    ContrastiveLoss,
    CropDistanceLoss,
    HardNegativeLoss,
    SigmoidContrastiveLoss,
)
from harmoclip_mm.models.utils import CLIPFeatures
from harmoclip_mm.registry import MODELS

SCALE, BIAS = 9.0, -4.0
# Each contrastive head: key of its loss, its sides, its groups.
CONTRASTS = {
    'GlobalContrastiveHead': ('loss_gc', 'image', 'text', None),
    'RegionPhraseHead': ('loss_lrc', 'regions', 'lexemes', 'lexeme_keys'),
    'RegionAlignmentHead': ('loss_gr', 'regions', 'phrases', 'phrase_keys'),
}


@pytest.fixture
def features():
    """Of a CLIP without a bias."""
    rows = F.normalize(torch.randn(6, 5, 8), dim=-1)
    return CLIPFeatures(
        torch.tensor(SCALE),
        None,
        *rows,
        phrase_keys=torch.tensor([3, 3, 4, 5, 6]),
        lexeme_keys=torch.tensor([7, 8, 9, 9, 2]),
        weights=torch.tensor([1.0, 0.5, 0.2, 1.0, 0.9]),
    )


def contrast(name, loss, features, *temperature):
    """The head's loss, by its definition."""
    key, left, right, groups = CONTRASTS[name]
    groups = groups and getattr(features, groups)
    left, right = getattr(features, left), getattr(features, right)
    # images and captions are not linked by anything that may err
    weights = None if groups is None else features.weights
    return {key: loss(left, right, groups, *temperature, weights=weights)}


@pytest.mark.parametrize('name', CONTRASTS)
def test_what_is_required(name):
    _, left, right, groups = CONTRASTS[name]
    head = MODELS.build(dict(type=f'harmoclip_mm.{name}'))
    weights = 'weights' if groups else None
    assert head.requires == {left, right, groups, weights} - {None}


@pytest.mark.parametrize('name', CONTRASTS)
@pytest.mark.parametrize('loss', [ContrastiveLoss, SigmoidContrastiveLoss])
def test_the_temperature_of_the_clip(features, name, loss):
    """Scale and bias of a SigLIP, by either loss; both get a gradient."""
    scale = torch.tensor(SCALE, requires_grad=True)
    bias = torch.tensor(BIAS, requires_grad=True)
    features = features._replace(scale=scale, bias=bias)
    head = MODELS.build(
        dict(
            type=f'harmoclip_mm.{name}',
            temperature='shared',
            loss=dict(type=f'harmoclip_mm.{loss.__name__}', loss_weight=0.5),
            init_bias=-10.0,
        )
    )
    assert not list(head.parameters())
    found = head.loss(features)
    expected = contrast(name, loss(0.5), features, scale, bias)
    torch.testing.assert_close(found, expected)
    grads = torch.autograd.grad(sum(found.values()), (scale, bias))
    assert grads[0] != 0
    assert (grads[1] != 0) == (loss is SigmoidContrastiveLoss)


@pytest.mark.parametrize('name', CONTRASTS)
@pytest.mark.parametrize('loss', [ContrastiveLoss, SigmoidContrastiveLoss])
def test_a_temperature_of_its_own(features, name, loss):
    """It starts at the CLIP's; a softmax has no use for a bias."""
    head = MODELS.build(
        dict(
            type=f'harmoclip_mm.{name}',
            temperature='own',
            loss=dict(type=f'harmoclip_mm.{loss.__name__}'),
            init_scale=20.0,
            init_bias=-7.0,
        )
    )
    features = features._replace(bias=torch.tensor(BIAS))
    start = [torch.tensor(20.0)]
    names = {'logit_scale.log_scale'}
    if loss is SigmoidContrastiveLoss:
        start.append(torch.tensor(-7.0))
        names.add('logit_scale.bias')
    found = head.loss(features)
    expected = contrast(name, loss(), features, *start)
    torch.testing.assert_close(found, expected)
    sum(found.values()).backward()
    parameters = dict(head.named_parameters())
    assert parameters.keys() == names
    assert all(each.grad.abs() > 1e-6 for each in parameters.values())


@pytest.mark.parametrize('name', CONTRASTS)
@pytest.mark.parametrize(
    ('temperature', 'names'),
    [
        ('own', {'logit_scale.log_scale', 'logit_scale.bias'}),
        ('shared', {'bias'}),
    ],
)
def test_a_sigmoid_loss_on_a_clip_without_bias(
    features, name, temperature, names
):
    """One line: the head has the bias, and starts it where SigLIP does."""
    head = MODELS.build(
        dict(
            type=f'harmoclip_mm.{name}',
            temperature=temperature,
            loss=dict(type='harmoclip_mm.SigmoidContrastiveLoss'),
        )
    )
    scale, bias = head.temperature(features)
    first = SCALE if temperature == 'shared' else 1 / 0.07
    assert scale.item() == pytest.approx(first)
    assert bias.item() == -10
    found = head.loss(features)
    expected = contrast(
        name,
        SigmoidContrastiveLoss(),
        features,
        torch.tensor(first),
        torch.tensor(-10.0),
    )
    torch.testing.assert_close(found, expected)
    sum(found.values()).backward()
    parameters = dict(head.named_parameters())
    assert parameters.keys() == names
    assert all(each.grad.abs() > 1e-6 for each in parameters.values())


def test_positives_of_lexemes(features):
    head = RegionPhraseHead(positives='phrase')
    assert head.requires == {'regions', 'lexemes', 'weights', 'phrase_keys'}
    expected = ContrastiveLoss()(
        features.regions,
        features.lexemes,
        features.phrase_keys,
        torch.tensor(1 / 0.07),
        weights=features.weights,
    )
    found = head.loss(features)['loss_lrc']
    torch.testing.assert_close(found, expected)
    assert found != RegionPhraseHead().loss(features)['loss_lrc']
    with pytest.raises(ValueError, match=r"positives 'word'.*'lexeme', 'phr"):
        RegionPhraseHead(positives='word')


def test_defaults(features):
    """CLIP's loss; GC and GR share its temperature, LRC has its own."""
    for name in CONTRASTS:
        head = MODELS.build(dict(type=f'harmoclip_mm.{name}'))
        assert type(head.loss_module) is ContrastiveLoss
        scale, bias = head.temperature(features)
        own = name == 'RegionPhraseHead'
        assert scale.item() == pytest.approx(1 / 0.07 if own else SCALE)
        assert bias is None
        assert len(list(head.parameters())) == own


@pytest.mark.parametrize('name', CONTRASTS)
def test_the_default_loss_is_filled_in(name):
    """As HarmoCLIP builds heads; what a config says goes before."""
    given = dict(
        default_loss='harmoclip_mm.SigmoidContrastiveLoss', init_bias=-10.0
    )
    kind = dict(type=f'harmoclip_mm.{name}')
    head = MODELS.build(kind, default_args=given)
    assert type(head.loss_module) is SigmoidContrastiveLoss
    cfg = dict(kind, loss=dict(loss_weight=0.5, chunk_size=9))
    loss = MODELS.build(cfg, default_args=given).loss_module
    assert type(loss) is SigmoidContrastiveLoss
    assert (loss.loss_weight, loss.chunk_size) == (0.5, 9)
    cfg = dict(kind, loss=dict(type='harmoclip_mm.ContrastiveLoss'))
    head = MODELS.build(cfg, default_args=given)
    assert type(head.loss_module) is ContrastiveLoss


@pytest.mark.parametrize(
    ('mode', 'targets'),
    [
        ('text', {'phrases', 'phrase_keys', 'weights'}),
        ('crop', {'crops'}),
        ('both', {'phrases', 'phrase_keys', 'weights', 'crops'}),
    ],
)
@pytest.mark.parametrize('temperature', ['shared', 'own'])
def test_region_alignment_head(features, mode, targets, temperature):
    head = RegionAlignmentHead(
        mode,
        loss=dict(type='harmoclip_mm.SigmoidContrastiveLoss', loss_weight=2.0),
        crop_loss=dict(loss_weight=3.0),
        temperature=temperature,
        init_scale=SCALE,
        init_bias=BIAS,
    )
    assert head.requires == {'regions'} | targets
    features = features._replace(bias=torch.tensor(BIAS))
    expected = 0.0
    if mode != 'crop':
        expected = SigmoidContrastiveLoss(2.0)(
            features.regions,
            features.phrases,
            features.phrase_keys,
            torch.tensor(SCALE),
            torch.tensor(BIAS),
            features.weights,
        )
    if mode != 'text':
        crop = CropDistanceLoss(3.0)(features.regions, features.crops)
        expected = expected + crop
    # Mode crop has no temperature, which would be a parameter without use.
    own = temperature == 'own' and mode != 'crop'
    assert len(list(head.parameters())) == 2 * own
    # The model computes what is required only; the rest is None.
    absent = {'phrases', 'crops', 'phrase_keys', 'weights'} - targets
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
        torch.tensor(SCALE), regions=features.regions, **{field: crops}
    )
    expected = (1 - (features.regions * crops).sum(1)).mean()
    torch.testing.assert_close(head.loss(given)['loss_gr'], expected)
    text = RegionAlignmentHead('text', crop_encoder=encoder)
    assert not text.requires & {'crops', 'online_crops', 'teacher_crops'}


def test_concept_distillation_head(features):
    cfg = dict(
        type='harmoclip_mm.ConceptDistillationHead',
        loss=dict(loss_weight=2.0),
    )
    # What HarmoCLIP hands to all heads does not change it.
    head = MODELS.build(
        cfg,
        default_args=dict(
            default_loss='harmoclip_mm.SigmoidContrastiveLoss',
            init_scale=1.0,
            init_bias=-10.0,
        ),
    )
    assert head.requires == {
        'regions',
        'phrases',
        'phrase_keys',
        'teacher_crops',
    }
    assert not list(head.parameters())
    teacher = F.normalize(torch.randn(5, 8), dim=-1)
    scale = torch.tensor(SCALE, requires_grad=True)
    features = features._replace(teacher_crops=teacher, scale=scale)
    expected = ConceptDistillationLoss(2.0)(
        features.regions,
        teacher,
        features.phrases,
        features.phrase_keys,
        torch.tensor(SCALE),
    )
    loss = head.loss(features)['loss_kd']
    torch.testing.assert_close(loss, expected)
    assert not loss.requires_grad  # the temperature is not trained by it


def test_without_rows(features):
    """A batch without regions or captions: 0, and every gradient is there."""
    for name, (_, left, right, _) in CONTRASTS.items():
        rows = {
            field: torch.zeros(0, 8, requires_grad=True)
            for field in (left, right)
        }
        keys = torch.zeros(0, dtype=torch.long)
        empty = features._replace(**rows, phrase_keys=keys, lexeme_keys=keys)
        head = MODELS.build(
            dict(
                type=f'harmoclip_mm.{name}',
                temperature='own',
                loss=dict(type='harmoclip_mm.SigmoidContrastiveLoss'),
            )
        )
        (loss,) = head.loss(empty).values()
        assert loss.item() == 0
        loss.backward()
        assert all(each.grad is not None for each in rows.values())
        assert all(each.grad == 0 for each in head.parameters())


def test_unknown_modes():
    with pytest.raises(ValueError, match=r"crop_encoder 'ema'.*'teacher'"):
        RegionAlignmentHead('crop', crop_encoder='ema')
    with pytest.raises(ValueError, match=r"mode 'txt'.*'text', 'crop'"):
        RegionAlignmentHead('txt')
    for head in (RegionPhraseHead, GlobalContrastiveHead):
        with pytest.raises(ValueError, match=r"temperature 'mine'.*'own'"):
            head(temperature='mine')


def test_a_head_of_ones_own(features):
    """All it takes: what it requires, and what it compares."""

    class Head(BaseContrastiveHead):
        requires = frozenset({'lexemes', 'phrases'})

        def loss(self, features):
            return dict(
                loss_own=self.loss_module(
                    features.lexemes,
                    features.phrases,
                    None,
                    *self.temperature(features),
                )
            )

    expected = ContrastiveLoss()(
        features.lexemes, features.phrases, None, torch.tensor(SCALE)
    )
    torch.testing.assert_close(Head().loss(features)['loss_own'], expected)


def test_hard_negative_head(features):
    negatives = F.normalize(torch.randn(5, 3, 8), dim=-1)
    mask = torch.rand(5, 3) < 0.7
    features = features._replace(negatives=negatives, negative_masks=mask)
    head = HardNegativeHead(loss=dict(loss_weight=0.5), init_scale=20.0)
    assert head.requires == {'regions', 'phrases', 'negatives', 'weights'}
    loss = head.loss(features)['loss_hard']
    expected = HardNegativeLoss(0.5)(
        features.regions,
        features.phrases,
        negatives,
        mask,
        torch.tensor(20.0),
        features.weights,
    )
    torch.testing.assert_close(loss, expected)
    loss.backward()
    assert [name for name, _ in head.named_parameters()] == [
        'logit_scale.log_scale'
    ]
    assert head.logit_scale.log_scale.grad != 0


def test_regions_weighed_by_the_fit_of_their_phrases(features):
    """By definition: the teacher's chance of the phrase among the four."""
    features = features._replace(teacher_crops=features.crops)
    head = RegionAlignmentHead(weigh_fit=True)
    assert head.requires >= {'teacher_crops', 'phrases', 'weights'}
    assert 'teacher_crops' not in RegionAlignmentHead().requires
    concepts = [features.phrases[:2].mean(0), *features.phrases[2:]]
    concepts = F.normalize(torch.stack(concepts), dim=-1)
    logits = SCALE * features.teacher_crops @ concepts.t()
    chances = logits.exp() / logits.exp().sum(1, keepdim=True)
    fit = chances[torch.arange(5), [0, 0, 1, 2, 3]]
    found = head.loss(features)['loss_gr']
    expected = ContrastiveLoss()(
        features.regions,
        features.phrases,
        features.phrase_keys,
        features.scale,
        weights=features.weights * fit,
    )
    torch.testing.assert_close(found, expected)
