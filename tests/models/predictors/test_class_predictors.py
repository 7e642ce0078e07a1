"""Classes of proposals and of whole images."""

import pytest
import torch
from mmdet.structures import DetDataSample
from mmengine.structures import InstanceData
from mmpretrain.structures import DataSample
from torchvision.ops import nms as torchvision_nms

from harmoclip_mm.models import ProposalClassPredictor, VisualFeatures
from harmoclip_mm.registry import MODELS

CLASSES = ('dog', 'cat', 'red car')


@pytest.fixture
def detect(predict):
    """Detections of a sample, from given logits."""

    def run(sample, logits, **kwargs):
        predictor = ProposalClassPredictor(**kwargs)
        predict(predictor, [sample], VisualFeatures(), logits=[logits])
        return sample.pred_instances

    return run


def proposed(boxes, scores, scale_factor=(1.0, 1.0)):
    sample = DetDataSample(metainfo=dict(scale_factor=scale_factor))
    sample.proposals = InstanceData(
        bboxes=torch.tensor(boxes).reshape(-1, 4),
        scores=torch.tensor(scores),
    )
    return sample


def test_classes_scores_and_boxes_by_hand(detect):
    """Two proposals, two classes; the second is the first, slightly moved."""
    sample = proposed(
        [[0.0, 0, 20, 20], [1.0, 0, 20, 20]], [0.5, 1.0], (2.0, 1.0)
    )
    logits = torch.log(torch.tensor([[0.9, 0.1], [0.8, 0.2]]))
    found = detect(sample, logits)
    # class 0 goes to the first, class 1 to the second; the others overlap
    assert found.labels.tolist() == [0, 1]
    torch.testing.assert_close(found.scores, torch.tensor([0.9, 0.2]))
    expected = torch.tensor([[0.0, 0, 10, 20], [0.5, 0, 10, 20]])
    assert torch.equal(found.bboxes, expected)

    found = detect(sample, logits, objectness=True)
    assert found.labels.tolist() == [0, 1]
    torch.testing.assert_close(found.scores, torch.tensor([0.8, 0.2]))
    torch.testing.assert_close(found.bboxes, expected[[1, 1]])

    assert len(detect(sample, logits, max_per_img=1)) == 1
    nms = dict(type='nms', iou_threshold=0.99)
    assert len(detect(sample, logits, nms=nms)) == 4


def test_nms_equals_torchvision_class_by_class(detect):
    torch.manual_seed(0)
    corners = torch.rand(40, 2) * 30
    boxes = torch.cat([corners, corners + 5 + torch.rand(40, 2) * 20], dim=1)
    sample = proposed(boxes.tolist(), [1.0] * 40)
    logits = torch.randn(40, 3)
    found = detect(sample, logits, max_per_img=1000)
    probabilities = logits.softmax(dim=1)
    for label in range(3):
        kept = torchvision_nms(boxes, probabilities[:, label], 0.5)
        mine = found[found.labels == label]
        torch.testing.assert_close(mine.bboxes, boxes[kept])
        torch.testing.assert_close(mine.scores, probabilities[kept, label])


def test_no_proposals(detect):
    assert len(detect(proposed([], []), torch.zeros(0, 3))) == 0


def test_the_model_classifies_proposals(tiny_cfg, samples):
    tiny_cfg['predictors'] = dict(
        proposals=dict(
            type='ProposalClassPredictor',
            classifier=dict(templates='simple'),
            objectness=True,
        )
    )
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


def test_whole_images_are_classified(tiny_cfg):
    tiny_cfg['predictors'] = dict(
        images=dict(
            type='ImageClassPredictor', classifier=dict(templates='simple')
        )
    )
    model = MODELS.build(tiny_cfg)
    model.init_weights()
    model.eval()
    images = torch.randn(3, 3, 32, 32)
    # the last is asked for fewer classes
    names = [CLASSES, CLASSES, CLASSES[1:]]
    samples = [DataSample(metainfo=dict(text=text)) for text in names]
    with torch.no_grad():
        found = model(images, samples, 'predict')
        for sample, image, text in zip(found, images, names):
            texts = model.encode_text([f'a photo of a {n}.' for n in text])
            logits = model.encode_image(image[None]) @ texts.t()
            row = (model.logit_scale()[0] * logits[0]).softmax(0)
            torch.testing.assert_close(sample.pred_score, row)
            assert sample.pred_label.tolist() == [int(row.argmax())]
            assert 'pred_instances' not in sample
