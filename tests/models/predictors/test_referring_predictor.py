"""Boxes ranked by an expression."""

import math

import pytest
import torch
from mmdet.structures import DetDataSample
from mmengine.structures import InstanceData

from harmoclip_mm.errors import DataError
from harmoclip_mm.models import ReferringPredictor, VisualFeatures

E = torch.eye(3)


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
