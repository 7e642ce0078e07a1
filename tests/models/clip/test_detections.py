"""Detections made of classified proposals."""

import pytest
import torch
from mmdet.structures import DetDataSample
from mmengine.structures import InstanceData
from torchvision.ops import nms as torchvision_nms

from harmoclip_mm.models.clip.detections import add_detections
from harmoclip_mm.models.layers import LogitScale
from harmoclip_mm.registry import MODELS

SOFTMAX = LogitScale().probabilities


def proposed(boxes, scores, scale_factor=(1.0, 1.0)):
    sample = DetDataSample(metainfo=dict(scale_factor=scale_factor))
    sample.proposals = InstanceData(
        bboxes=torch.tensor(boxes).reshape(-1, 4),
        scores=torch.tensor(scores),
    )
    return sample


def test_classes_scores_and_boxes_by_hand():
    """Two proposals, two classes; the second is the first, slightly moved."""
    sample = proposed(
        [[0.0, 0, 20, 20], [1.0, 0, 20, 20]], [0.5, 1.0], (2.0, 1.0)
    )
    logits = torch.log(torch.tensor([[0.9, 0.1], [0.8, 0.2]]))
    add_detections([sample], [logits], SOFTMAX)
    found = sample.pred_instances
    # class 0 goes to the first, class 1 to the second; the others overlap
    assert found.labels.tolist() == [0, 1]
    torch.testing.assert_close(found.scores, torch.tensor([0.9, 0.2]))
    expected = torch.tensor([[0.0, 0, 10, 20], [0.5, 0, 10, 20]])
    assert torch.equal(found.bboxes, expected)

    add_detections([sample], [logits], SOFTMAX, objectness=True)
    found = sample.pred_instances
    assert found.labels.tolist() == [0, 1]
    torch.testing.assert_close(found.scores, torch.tensor([0.8, 0.2]))
    torch.testing.assert_close(found.bboxes, expected[[1, 1]])

    add_detections([sample], [logits], SOFTMAX, score_thr=0.5, max_per_img=1)
    assert len(sample.pred_instances) == 1
    add_detections(
        [sample], [logits], SOFTMAX, nms=dict(type='nms', iou_threshold=0.99)
    )
    assert len(sample.pred_instances) == 4


def test_nms_equals_torchvision_class_by_class():
    torch.manual_seed(0)
    corners = torch.rand(40, 2) * 30
    boxes = torch.cat([corners, corners + 5 + torch.rand(40, 2) * 20], dim=1)
    sample = proposed(boxes.tolist(), [1.0] * 40)
    logits = torch.randn(40, 3)
    add_detections([sample], [logits], SOFTMAX, max_per_img=1000)
    found = sample.pred_instances
    probabilities = logits.softmax(dim=1)
    for label in range(3):
        kept = torchvision_nms(boxes, probabilities[:, label], 0.5)
        mine = found[found.labels == label]
        torch.testing.assert_close(mine.bboxes, boxes[kept])
        torch.testing.assert_close(mine.scores, probabilities[kept, label])


def test_no_proposals():
    sample = proposed([], [])
    add_detections([sample], [torch.zeros(0, 3)], SOFTMAX)
    assert len(sample.pred_instances) == 0


def test_the_model_classifies_proposals_in_place_of_the_truth(
    tiny_cfg, samples
):
    tiny_cfg['test_cfg'] = dict(objectness=True)
    model = MODELS.build(tiny_cfg)
    model.init_weights()
    model.eval()
    truth = samples[0].gt_instances.bboxes.clone()
    for sample, count in zip(samples, (3, 0, 1)):
        sample.proposals = InstanceData(
            bboxes=torch.tensor([[0.0, 0, 9, 9]]).repeat(count, 1),
            scores=torch.linspace(0.5, 1, count),
        )
    img = torch.randn(3, 3, 32, 32)
    with torch.no_grad():
        found = model(img, samples, mode='predict')
    assert [len(each.pred_instances) for each in found] == [3, 0, 3]
    assert torch.equal(found[0].gt_instances.bboxes, truth)
    # the three equal boxes of the first image leave the best of each class
    assert sorted(found[0].pred_instances.labels.tolist()) == [0, 1, 2]


def test_masks_of_samples_reach_the_extractor(tiny_cfg, samples):
    """BitmapMasks of a batch of unequal sizes, through predict and encode."""
    from mmdet.structures.mask import BitmapMasks

    tiny_cfg['region_extractor'] = dict(type='MaskFeatureExtractor')
    model = MODELS.build(tiny_cfg)
    model.init_weights()
    model.eval()
    img = torch.randn(3, 3, 32, 32)
    with pytest.raises(ValueError, match=r'have no masks.*with_mask=True'):
        model(img, samples, mode='predict')
    bitmaps = []
    for sample, side in zip(samples, (32, 32, 30)):
        count = len(sample.gt_instances)
        bitmap = (torch.rand(count, side, 32) < 0.5).to(torch.uint8)
        bitmaps.append(bitmap)
        sample.gt_instances.masks = BitmapMasks(bitmap.numpy(), side, 32)
    boxes = [each.gt_instances.bboxes.clone() for each in samples]
    with torch.no_grad():
        embeddings = model.encode_regions(img, boxes, bitmaps)
        found = model(img, samples, mode='predict')
        weight = model.classifier.class_embeddings(model.text_encoder)
    for sample, rows in zip(found, embeddings):
        labels = (rows @ weight.t()).argmax(dim=1)
        assert torch.equal(sample.pred_instances.labels, labels)
        assert 'masks' not in sample.gt_instances
