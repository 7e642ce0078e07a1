"""Regions against crops."""

import pytest
import torch
import torch.nn.functional as F

from harmoclip_mm.models.losses import CropDistanceLoss


def test_cosine_distance_by_hand():
    # cos of (3, 4) and (4, 3) is 24 / 25; of equal rows 1; of opposite -1:
    # 0.04 + 0 + 2 = 2.04, however long the rows are.
    regions = torch.tensor([[3.0, 4.0], [1.0, 0.0], [0.0, 2.0]])
    crops = torch.tensor([[0.8, 0.6], [5.0, 0.0], [0.0, -1.0]])
    found = CropDistanceLoss()(regions, crops).item()
    assert found == pytest.approx(2.04 / 3)


def test_the_loss_is_a_mean():
    regions = torch.tensor([[0.6, 0.8], [1.0, 0.0]], requires_grad=True)
    crops = torch.tensor([[0.8, 0.6], [0.0, 1.0]], requires_grad=True)
    loss = CropDistanceLoss(2.0)(regions, crops)
    # 1 - 0.96 = 0.04 and 1 - 0 = 1: mean 0.52, weight 2
    assert loss.item() == pytest.approx(1.04)
    loss.backward()
    # d(1 - cos) by a unit vector: minus what of the other is across it,
    # half of it for the mean, twice for the weight
    across = crops - (crops * regions).sum(1, keepdim=True) * regions
    torch.testing.assert_close(regions.grad, -across.detach())
    across = regions - (crops * regions).sum(1, keepdim=True) * crops
    torch.testing.assert_close(crops.grad, -across.detach())
    expected = 2 * F.cosine_embedding_loss(regions, crops, torch.ones(2))
    torch.testing.assert_close(loss, expected)


def test_without_regions():
    empty = torch.zeros(0, 8, requires_grad=True)
    loss = CropDistanceLoss()(empty, torch.zeros(0, 8))
    assert loss.item() == 0
    loss.backward()
    assert empty.grad.shape == (0, 8)


def test_half_precision_is_lifted():
    generator = torch.Generator().manual_seed(0)
    regions, crops = torch.randn(2, 6, 8, generator=generator).bfloat16()
    expected = CropDistanceLoss()(regions.float(), crops.float())
    with torch.autocast('cpu', torch.bfloat16):
        assert CropDistanceLoss()(regions, crops) == expected


def test_gradcheck():
    generator = torch.Generator().manual_seed(0)
    rows = torch.randn(2, 4, 3, generator=generator, dtype=torch.float64)
    inputs = [F.normalize(each, dim=-1).requires_grad_() for each in rows]
    assert torch.autograd.gradcheck(CropDistanceLoss(), inputs)
