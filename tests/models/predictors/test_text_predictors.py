"""Texts chosen among those of a box, boxes ranked by a text."""

import math

import pytest
import torch
from mmdet.structures import DetDataSample
from mmengine.structures import InstanceData

from harmoclip_mm.errors import DataError
from harmoclip_mm.models import (
    CandidateTextPredictor,
    ReferringPredictor,
    VisualFeatures,
)
from harmoclip_mm.registry import MODELS

E = torch.eye(3)


def test_texts_are_chosen_among_the_candidates(predict):
    sample = DetDataSample(metainfo={'scale_factor': (2.0, 4.0)})
    sample.candidate_ids = torch.arange(15).view(3, 5)
    sample.gt_instances = InstanceData(
        bboxes=torch.tensor([[2.0, 4.0, 8.0, 8.0]] * 2),
        labels=torch.tensor([0, 1]),
        candidate_mask=torch.tensor([[1, 1, 0], [1, 0, 1]]).bool(),
    )
    texts = torch.stack([E[0], 0.6 * E[0] + 0.8 * E[1], E[2]])
    features = VisualFeatures(gt_regions=[E[[1, 2]]])
    predict(CandidateTextPredictor(), [sample], features, texts=[texts])
    pred = sample.pred_instances
    no = float('-inf')
    # cosines of box 0: 0, 0.8, (0); of box 1: 0, (0), 1
    torch.testing.assert_close(
        pred.candidate_logits, torch.tensor([[0, 8, no], [0, no, 10]])
    )
    assert pred.labels.tolist() == [1, 2]
    # 1 / (1 + e^-8), 1 / (1 + e^-10)
    assert pred.scores.tolist() == pytest.approx([0.9996646, 0.9999546])
    assert pred.bboxes.tolist() == [[1, 1, 4, 2]] * 2  # original px
    assert sample.gt_instances.bboxes.tolist() == [[2, 4, 8, 8]] * 2


@pytest.fixture
def model(tiny_cfg):
    """The tiny model as a judge of texts."""
    tiny_cfg['predictors'] = dict(texts=dict(type='CandidateTextPredictor'))
    model = MODELS.build(tiny_cfg)
    model.init_weights()
    return model.eval()


def test_the_batch_has_no_part_in_it(model):
    """A box with two texts, one with one, and an image without box."""
    samples = []
    for index, texts in enumerate((['a dog', 'a cat'], ['a dog'], ['x'])):
        sample = DetDataSample(metainfo={'img_id': index})
        sample.candidate_ids = model.text_encoder.tokenizer.ids(texts)
        box = torch.tensor([[3.0, 2.0, 20.0, 30.0]] * (index < 2))
        sample.gt_instances = InstanceData(bboxes=box.view(-1, 4))
        samples.append(sample)
    images = torch.randn(3, 3, 32, 32)
    with torch.no_grad():
        together = model(images, [each.clone() for each in samples], 'predict')
        for image, sample, found in zip(images, samples, together):
            (alone,) = model(image[None], [sample.clone()], 'predict')
            torch.testing.assert_close(
                alone.pred_instances.candidate_logits,
                found.pred_instances.candidate_logits,
            )
        # against the parts of the model
        (region,) = model.encode_regions(
            images[:1], [samples[0].gt_instances.bboxes]
        )
        texts = model.encode_text(['a dog', 'a cat'])
        logits = model.logit_scale()[0] * region @ texts.t()
    found = together[0].pred_instances.candidate_logits
    torch.testing.assert_close(found, logits)
    assert together[2].pred_instances.candidate_logits.shape == (0, 1)


def test_a_sample_without_texts_says_what_to_do(model, samples):
    with pytest.raises(DataError, match=r'candidate_ids.*TokenizeCandidates'):
        model(torch.randn(3, 3, 32, 32), samples, 'predict')


def test_proposals_are_ranked_by_the_text(predict):
    sample = DetDataSample(metainfo={'scale_factor': (2.0, 2.0)})
    boxes = 2.0 * torch.arange(16).reshape(4, 4)
    sample.proposals = InstanceData(bboxes=boxes.clone())
    sample.candidate_ids = torch.ones(1, 5).long()
    regions = torch.stack([E[1], E[0], 0.8 * E[0] + 0.6 * E[1], E[0]])
    features = VisualFeatures(proposal_regions=[regions])
    predict(ReferringPredictor(), [sample], features, texts=[E[:1]])
    pred = sample.pred_instances
    # cosines 0, 1, 0.8, 1; equal ones in the order of the file
    assert torch.equal(pred.bboxes, boxes[[1, 3, 2, 0]] / 2)
    total = 2 + math.exp(-2) + math.exp(-10)
    assert pred.scores[0].item() == pytest.approx(1 / total)
    assert pred.labels.tolist() == [0] * 4
    assert torch.equal(sample.proposals.bboxes, boxes)

    sample.candidate_ids = torch.arange(10).view(2, 5)
    with pytest.raises(DataError, match='has 2 texts: proposals are ranked'):
        predict(ReferringPredictor(), [sample], features, texts=[E[:2]])
