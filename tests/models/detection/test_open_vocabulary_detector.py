"""Training and predicting with the detector."""

import pytest
import torch
from mmdet.structures.bbox import bbox_overlaps
from mmengine.optim import OptimWrapper
from mmengine.structures import InstanceData

from harmoclip_mm.models.detection import OpenVocabularyDetector


def train(model, batch, steps, lr=3e-3):
    """Steps on one batch; gives the sum of the losses at each."""
    optimizer = torch.optim.AdamW(
        [w for w in model.parameters() if w.requires_grad], lr=lr
    )
    wrapper = OptimWrapper(optimizer)
    model.train()
    values = []
    img, samples = batch
    for _ in range(steps):
        losses, _ = model.parse_losses(model.loss(img, samples))
        values.append(losses.item())
        wrapper.update_params(losses)
    return values


@pytest.mark.parametrize('masks', [False, True])
def test_losses_fall(build, cfg, batch, request, masks):
    if masks:
        cfg = request.getfixturevalue('with_masks')
    model = build(cfg)
    before = {k: v.clone() for k, v in model.backbone.state_dict().items()}
    values = train(model, batch, 20)
    assert sum(values[-3:]) < 0.7 * sum(values[:3]), values
    losses = model.loss(*batch)
    assert ('loss_mask' in losses) == masks
    assert {'loss_rpn_cls', 'loss_cls', 'loss_bbox'} <= set(losses)
    after = model.backbone.state_dict()
    assert all(torch.equal(v, after[k]) for k, v in before.items())


def test_no_graph_reaches_the_frozen_towers(build, cfg, batch):
    model = build(cfg).train()
    assert not model.backbone.training
    assert not model.text_encoder.training
    maps = []
    model.backbone.register_forward_hook(lambda m, i, out: maps.append(out))
    losses, _ = model.parse_losses(model.loss(*batch))
    assert not any(each.requires_grad for each in maps[0])
    losses.backward()
    for name, weight in model.named_parameters():
        frozen = name.startswith(('backbone', 'text_encoder'))
        assert (weight.grad is None) == frozen, name


def test_raw_outputs_of_classes_that_the_samples_name(build, cfg, test_batch):
    """As tools that count operations ask for them."""
    model, (img, samples) = build(cfg), test_batch
    with torch.no_grad():
        ((scores, boxes),) = model(img, samples, mode='tensor')
    assert scores.shape == (len(boxes), len(samples[0].text) + 1)


def test_predictions_are_boxes_of_the_original(build, with_masks, test_batch):
    model = build(with_masks)
    img, samples = test_batch
    with torch.no_grad():
        small = model.predict(img, samples, rescale=False)
        small = [each.pred_instances for each in small]
        found = model.predict(img, samples)
    for sample, half in zip(found, small):
        each = sample.pred_instances
        assert 0 < len(each) <= 10
        torch.testing.assert_close(each.bboxes, 2 * half.bboxes)
        assert each.masks.shape == (len(each), 80, 96)
        assert (each.scores.diff() <= 0).all()
        assert each.labels.min() >= 0 and each.labels.max() <= 2
        limit = each.bboxes.new_tensor([96, 80, 96, 80])
        assert (each.bboxes >= 0).all() and (each.bboxes <= limit).all()


@pytest.mark.slow
def test_a_trained_detector_tells_its_classes(build, cfg, batch):
    """Overfitted on one image; asked in another order, in original pixels."""
    cfg.roi_head.update(alpha=0.0, beta=0.0)
    model = build(cfg)
    train(model, batch, 80)
    img, samples = batch
    truth = samples[0].gt_instances.bboxes
    for sample in samples:
        sample.proposals = InstanceData(bboxes=truth.clone())
        sample.set_metainfo(dict(text=('red_car', 'dog')))
    with torch.no_grad():
        found = model.eval().predict(img, samples)[0].pred_instances
    best = found[:2]  # sorted by score
    assert sorted(best.labels.tolist()) == [0, 1]
    for box, label in zip(2 * truth, (1, 0)):
        overlap = bbox_overlaps(best.bboxes[best.labels == label], box[None])
        assert overlap.item() > 0.7


def test_one_pass_of_the_backbone(build, cfg, batch):
    model = build(cfg)
    calls = []
    model.backbone.visual.conv1.register_forward_hook(
        lambda *args: calls.append(1)
    )
    with torch.no_grad():
        model.predict(*batch)
    assert len(calls) == 1


def test_forward_through_mmdets_modes(build, cfg, batch):
    model = build(cfg)
    data = dict(
        inputs=[each.byte() for each in batch[0]], data_samples=batch[1]
    )
    with torch.no_grad():
        assert len(model.test_step(data)) == 2
    assert isinstance(model, OpenVocabularyDetector)


def test_errors(build, cfg):
    cfg.roi_head.bbox_head.embed_dims = 8
    with pytest.raises(ValueError, match='backbone has out_dims=24, but the'):
        build(cfg)
