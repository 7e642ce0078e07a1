"""What passes between data, towers and heads."""

import pytest
import torch
from mmdet.structures import DetDataSample
from mmengine.structures import InstanceData

from harmoclip_mm.models.utils import collate_weights, global_mean


def sample(count, **fields):
    boxes = torch.zeros(count, 4, dtype=torch.float64)
    return DetDataSample(gt_instances=InstanceData(bboxes=boxes, **fields))


def test_weights_are_1_where_the_data_tell_none():
    scored = sample(2, scores=torch.tensor([0.25, 0.5]))
    weights = collate_weights([sample(1), scored, sample(0)])
    assert weights.tolist() == [1, 0.25, 0.5]
    assert weights.dtype == torch.float32
    assert collate_weights([sample(0)]).shape == (0,)


def test_mean_over_weights():
    total = torch.tensor(3.0)
    assert global_mean(total, torch.tensor(0.5)) == 6
    assert global_mean(total, 2) == pytest.approx(1.5)
    zero = torch.tensor(0.0, requires_grad=True)
    mean = global_mean(zero * 1, torch.tensor(0.0))
    mean.backward()
    assert mean == 0 and zero.grad == 1
