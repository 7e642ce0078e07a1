"""The copy of the start that CLIPSelf and RegionCLIP train against."""

import copy

import pytest
import torch
from mmengine.model import ExponentialMovingAverage
from mmengine.runner.checkpoint import load_state_dict

from harmoclip_mm.apis import export_clip, load_clip
from harmoclip_mm.models.losses import ConceptDistillationLoss
from harmoclip_mm.models.losses.info_nce import symmetric_info_nce
from harmoclip_mm.models.utils import RegionBatch
from harmoclip_mm.registry import MODELS
from harmoclip_mm.text import phrase_key

CROPS = dict(type='CropFeatureExtractor')


def region_head(encoder):
    return dict(type='RegionAlignmentHead', mode='crop', crop_encoder=encoder)


@pytest.fixture
def img():
    return torch.randn(3, 3, 32, 32)


@pytest.fixture
def build(tiny_cfg):
    """Builds the tiny model with certain heads."""

    def build(heads, **kwargs):
        torch.manual_seed(0)
        cfg = dict(copy.deepcopy(tiny_cfg), crop_extractor=CROPS, **kwargs)
        model = MODELS.build(dict(cfg, heads=heads))
        model.init_weights()
        return model

    return build


@pytest.fixture
def clipself(build):
    return build(
        dict(gr=region_head('teacher')),
        frozen=['text_encoder', 'logit_scale', r'backbone\.(?!.*blocks\.)'],
    )


def step(model, img, samples, rate=0.5):
    """One step of plain gradient descent."""
    trained = [p for p in model.parameters() if p.requires_grad]
    losses = model.train()(img, samples, mode='loss')
    grads = torch.autograd.grad(sum(losses.values()), trained)
    with torch.no_grad():
        for param, grad in zip(trained, grads):
            param -= rate * grad
    return {name: loss.detach() for name, loss in losses.items()}


def tower(model):
    return {n: w.clone() for n, w in model.backbone.state_dict().items()}


def teacher_of(model):
    return {
        n: w.clone() for n, w in model.teacher.backbone.state_dict().items()
    }


def test_it_keeps_the_start_and_does_not_learn(clipself, img, samples):
    start = tower(clipself)
    names = {name for name, _ in clipself.named_parameters()}
    assert not any(name.startswith('teacher') for name in names)
    first = step(clipself, img, samples)
    for _ in range(3):
        last = step(clipself, img, samples)
    assert last['loss_gr'] < first['loss_gr']
    torch.testing.assert_close(teacher_of(clipself), start, rtol=0, atol=0)
    moved = tower(clipself)
    for name, weight in start.items():
        assert torch.equal(weight, moved[name]) is ('blocks' not in name), name
    clipself.train()
    assert not any(m.training for m in clipself.teacher.modules())


def test_the_loss_of_clipself(clipself, img, samples):
    """1 - cos(region of the student, crop by the start), by hand."""
    step(clipself, img, samples)
    start = copy.deepcopy(clipself.backbone)
    start.load_state_dict(teacher_of(clipself))
    boxes = [each.gt_instances.bboxes for each in samples]
    regions = torch.cat(clipself.encode_regions(img, boxes))
    rows = []
    for image, box in zip(img, boxes):
        for one in box:
            roi = torch.cat([torch.zeros(1), one])[None]
            crop = clipself.crop_extractor.crop(image[None], roi, (32, 32))
            rows.append(start.encode(crop, with_dense=False).pooled[0])
    expected = 1 - torch.cosine_similarity(regions, torch.stack(rows))
    loss = clipself(img, samples, mode='loss')['loss_gr']
    torch.testing.assert_close(loss, expected.mean(), rtol=1e-5, atol=1e-6)


def test_it_needs_no_text(clipself, img, samples):
    expected = clipself(img, samples, mode='loss')
    for sample in samples:
        for key in ('caption_ids', 'phrase_ids', 'phrase_masks'):
            delattr(sample, key)
    torch.testing.assert_close(clipself(img, samples, mode='loss'), expected)


def test_the_losses_of_regionclip(build, img, samples):
    heads = dict(
        gr=dict(type='RegionAlignmentHead', mode='text'),
        kd=dict(type='ConceptDistillationHead'),
    )
    model = build(heads, frozen=['text_encoder'])
    step(model, img, samples)
    losses = model(img, samples, mode='loss')
    boxes = [each.gt_instances.bboxes for each in samples]
    with torch.no_grad():
        regions = torch.cat(model.encode_regions(img, boxes))
        words = ['dog', 'red car', 'cat']
        texts = model.encode_text(words)
        student = copy.deepcopy(model.backbone)
        model.backbone.load_state_dict(teacher_of(model))
        seen = model.crop_extractor(
            None, RegionBatch.from_boxes(boxes), img, model.backbone
        )
        model.backbone.load_state_dict(student.state_dict())
        expected = dict(
            loss_gr=symmetric_info_nce(
                regions, texts, torch.arange(3), model.logit_scale()[0]
            ),
            loss_kd=ConceptDistillationLoss()(
                regions,
                seen,
                texts,
                torch.tensor([phrase_key(word) for word in words]),
                model.logit_scale()[0],
            ),
        )
    assert losses['loss_kd'].item() > 1e-6
    for name, value in expected.items():
        torch.testing.assert_close(
            losses[name].detach(), value, rtol=1e-4, atol=1e-6
        )


def test_gradients_reach_the_crops_of_fineclip_alone(build, img, samples):
    """The same value; online crops teach the CLS token too."""
    found = {}
    for encoder in ('detached', 'online', 'teacher'):
        model = build(dict(gr=region_head(encoder)))
        assert (model.teacher is not None) is (encoder == 'teacher')
        loss = model(img, samples, mode='loss')['loss_gr']
        loss.backward()
        cls_token = model.backbone.visual.class_embedding
        found[encoder] = loss.item(), cls_token.grad
    assert found['online'][0] == pytest.approx(found['detached'][0])
    assert found['teacher'][0] == pytest.approx(found['detached'][0])
    # a region's feature attends to the CLS token in the first block
    difference = found['online'][1] - found['detached'][1]
    assert difference.abs().max() > 1e-4
    torch.testing.assert_close(found['teacher'][1], found['detached'][1])


def test_resuming_restores_it(clipself, build, img, samples):
    start = tower(clipself)
    step(clipself, img, samples)
    saved = copy.deepcopy(clipself.state_dict())
    other = build(dict(gr=region_head('teacher')))
    other.load_state_dict(saved)  # strict
    torch.testing.assert_close(teacher_of(other), start, rtol=0, atol=0)
    assert other.teacher.is_set
    one = other(img, samples, mode='loss')
    torch.testing.assert_close(one, clipself(img, samples, mode='loss'))
    torch.testing.assert_close(teacher_of(other), start, rtol=0, atol=0)


@pytest.mark.parametrize('load', ['torch', 'mmengine'])
def test_weights_loaded_are_the_start(build, clipself, img, samples, load):
    """A CLIP without a teacher fits, and becomes the teacher."""
    clip = build(dict(gc=dict(type='GlobalContrastiveHead')))
    with torch.no_grad():
        for weight in clip.backbone.parameters():
            weight.add_(0.01)
    weights = clip.state_dict()
    if load == 'torch':
        keys = clipself.load_state_dict(weights, strict=False)
        assert not keys.missing_keys and not keys.unexpected_keys
    else:
        load_state_dict(clipself, weights, strict=True)
    step(clipself, img, samples)
    torch.testing.assert_close(
        teacher_of(clipself), tower(clip), rtol=0, atol=0
    )


def test_other_models_do_not_see_it(
    clipself, build, img, samples, tmp_path, tiny_cfg
):
    step(clipself, img, samples)
    plain = build(dict(gc=dict(type='GlobalContrastiveHead')))
    plain.load_state_dict(clipself.state_dict())  # strict
    trained = tower(clipself)
    torch.testing.assert_close(tower(plain), trained, rtol=0, atol=0)
    path = str(tmp_path / 'training.pth')
    cfg = f'model = dict(type="HarmoCLIP", clip={tiny_cfg["clip"]!r})'
    torch.save(
        dict(state_dict=clipself.state_dict(), meta=dict(cfg=cfg)), path
    )
    model = load_clip(path)
    assert model.teacher is None
    torch.testing.assert_close(tower(model), trained)
    export_clip(clipself, str(tmp_path / 'clip.pt'))
    names = torch.load(tmp_path / 'clip.pt', weights_only=True)
    assert not any('teacher' in name for name in names)


def test_averages_keep_it(clipself, img, samples):
    average = ExponentialMovingAverage(clipself, momentum=0.3)
    start = tower(clipself)
    for _ in range(3):
        step(clipself, img, samples)
        average.update_parameters(clipself)
    found = teacher_of(average.module)
    torch.testing.assert_close(found, start, rtol=0, atol=0)
    assert average.module.teacher.is_set


def test_frozen_must_match(build):
    heads = dict(gc=dict(type='GlobalContrastiveHead'))
    with pytest.raises(ValueError, match="frozen='text_tower' matches no"):
        build(heads, frozen=['text_tower'])
    model = build(heads, frozen=['text_encoder', 'logit_scale'])
    trained = {n for n, p in model.named_parameters() if p.requires_grad}
    assert trained and all(n.startswith('backbone.') for n in trained)
