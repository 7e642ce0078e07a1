"""Regions against their hard negatives."""

import math

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from harmoclip_mm.models.losses import HardNegativeLoss


def rows(regions=5, negatives=3, width=6, dtype=torch.float64):
    generator = torch.Generator().manual_seed(0)
    made = torch.randn(
        regions, 2 + negatives, width, generator=generator, dtype=dtype
    )
    made = F.normalize(made, dim=-1)
    mask = torch.rand(regions, negatives, generator=generator) < 0.6
    mask[0], mask[1] = True, False
    weights = torch.rand(regions, generator=generator, dtype=dtype)
    return made[:, 0], made[:, 1], made[:, 2:], mask, weights


def test_by_hand():
    # The first region's cosines: its text 1, negatives 0 and -1; the second
    # is missing. The other region has no negative and does not count.
    east, north = [1.0, 0.0], [0.0, 1.0]
    loss = HardNegativeLoss(0.5)(
        torch.tensor([east, north]),
        torch.tensor([east, east]),
        torch.tensor([[north, [-1.0, 0.0]], [east, east]]),
        torch.tensor([[True, False], [False, False]]),
        torch.tensor(2.0),
        torch.tensor([0.25, 1.0]),
    )
    assert loss.item() == pytest.approx(0.5 * math.log(1 + math.exp(-2)))


def test_equals_numpy():
    regions, phrases, negatives, mask, weights = rows()
    found = HardNegativeLoss(2.0)(
        regions, phrases, negatives, mask, torch.tensor(7.0), weights
    )
    total = count = 0.0
    for row in range(5):
        texts = [phrases[row], *negatives[row][mask[row]]]
        logits = 7 * np.stack(texts) @ regions[row].numpy()
        if len(texts) > 1:
            chance = np.exp(logits[0]) / np.exp(logits).sum()
            total -= weights[row].item() * np.log(chance)
            count += weights[row].item()
    assert found.item() == pytest.approx(2 * total / count)


def test_gradcheck():
    regions, phrases, negatives, mask, weights = rows()
    inputs = [each.requires_grad_() for each in (regions, phrases, negatives)]
    scale = torch.tensor(3.0, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(
        lambda *args: HardNegativeLoss()(*args[:3], mask, args[3], weights),
        (*inputs, scale),
    )


@pytest.mark.parametrize('regions', [0, 2])
def test_without_negatives(regions):
    left, phrases, negatives, mask, weights = rows(regions or 2)
    left, phrases, negatives, mask, weights = (
        each[:regions] for each in (left, phrases, negatives, mask, weights)
    )
    left.requires_grad_()
    loss = HardNegativeLoss()(
        left,
        phrases,
        negatives,
        torch.zeros_like(mask),
        torch.tensor(7.0),
        weights,
    )
    loss.backward()
    assert loss.item() == 0
    assert not left.grad.any()


def test_half_precision_is_lifted():
    made = rows(dtype=torch.float32)
    low = [each.bfloat16() for each in made[:3]]
    scale = torch.tensor(7.0)
    expected = HardNegativeLoss()(
        *(each.float() for each in low), made[3], scale, made[4]
    )
    with torch.autocast('cpu', torch.bfloat16):
        assert HardNegativeLoss()(*low, made[3], scale, made[4]) == expected
