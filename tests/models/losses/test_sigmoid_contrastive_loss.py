"""SigLIP's pairwise loss."""

import math

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from harmoclip_mm.models.losses import info_nce
from harmoclip_mm.models.losses.sigmoid_contrastive_loss import (
    SigmoidContrastiveLoss,
    pairwise_sigmoid,
)


def unit(*shape, seed=0, dtype=torch.float64):
    generator = torch.Generator().manual_seed(seed)
    rows = torch.randn(*shape, generator=generator, dtype=dtype)
    return F.normalize(rows, dim=-1)


def scalar(value):
    return torch.tensor(value, dtype=torch.float64, requires_grad=True)


def test_by_hand():
    # Two orthogonal pairs, scale 1, bias 0: on the diagonal logits 1, twice
    # log(1 + e^-1) = 0.313262; off it 0, twice log 2; over two rows.
    eye = torch.eye(2)
    one, zero = torch.tensor(1.0), torch.tensor(0.0)
    loss = pairwise_sigmoid(eye, eye, torch.arange(2), one, zero)
    assert loss.item() == pytest.approx(0.313262 + 0.693147, abs=1e-6)
    # With one group all four pairs are positives: off the diagonal log 2 too
    # for a logit of 0, so nothing changes; with bias 1 everything does:
    # log(1 + e^-2) + log(1 + e^-1) = 0.126928 + 0.313262
    loss = pairwise_sigmoid(eye, eye, torch.zeros(2).long(), one, one)
    assert loss.item() == pytest.approx(0.126928 + 0.313262, abs=1e-6)


def test_gradients_of_scale_and_bias_by_hand():
    # As above with bias 0: d/dlogit is -sigmoid(-1) = -1 / (e + 1) on the
    # diagonal and sigmoid(0) = 1/2 off it. By the bias the mean over rows,
    # 1/2 - 1 / (e + 1); by the scale, times cosines 1 and 0: -1 / (e + 1).
    eye, scale, bias = torch.eye(2), scalar(1.0), scalar(0.0)
    SigmoidContrastiveLoss()(eye, eye, None, scale, bias).backward()
    assert bias.grad.item() == pytest.approx(0.5 - 1 / (math.e + 1))
    assert scale.grad.item() == pytest.approx(-1 / (math.e + 1))


@pytest.mark.parametrize('gather_size', [2, 100])
@pytest.mark.parametrize('chunk_size', [1, 4, 100])
def test_against_numpy(monkeypatch, chunk_size, gather_size):
    monkeypatch.setattr(info_nce, 'GATHER_SIZE', gather_size)
    left, right = unit(9, 5), unit(9, 5, seed=1)
    groups = [0, 1, 2, 0, 4, 1, 1, 7, 8]
    scale, bias = 7.0, -3.0
    total = 0.0
    for i, query in enumerate(left.numpy()):
        for j, key in enumerate(right.numpy()):
            sign = 1 if groups[i] == groups[j] else -1
            logit = sign * (scale * float(np.dot(query, key)) + bias)
            total += math.log(1 + math.exp(-logit))
    loss = SigmoidContrastiveLoss(2.0, chunk_size=chunk_size)(
        left, right, torch.tensor(groups), scalar(scale), scalar(bias)
    )
    assert loss.item() == pytest.approx(2 * total / 9, rel=1e-12)


@pytest.mark.parametrize('gather_size', [2, 100])
@pytest.mark.parametrize('chunk_size', [4, 1024])
def test_equals_open_clip(monkeypatch, chunk_size, gather_size):
    """Value and gradients of open_clip's SigLipLoss."""
    open_clip = pytest.importorskip('open_clip')
    monkeypatch.setattr(info_nce, 'GATHER_SIZE', gather_size)
    leaves = [
        unit(9, 8).requires_grad_(),
        unit(9, 8, seed=1).requires_grad_(),
        scalar(10.0),
        scalar(-10.0),
    ]
    left, right, scale, bias = leaves
    found = SigmoidContrastiveLoss(chunk_size=chunk_size)(
        left, right, None, scale, bias
    )
    expected = open_clip.loss.SigLipLoss()(*leaves)
    torch.testing.assert_close(found, expected, rtol=1e-12, atol=0)
    torch.testing.assert_close(
        torch.autograd.grad(found, leaves),
        torch.autograd.grad(expected, leaves),
        rtol=1e-10,
        atol=1e-13,
    )


def test_positives():
    left, right = unit(4, 8), unit(4, 8, seed=1)
    scale, bias = scalar(10.0), scalar(-2.0)
    keys, single = torch.tensor([5, 5, 6, 7]), torch.arange(4)
    args = (scale, bias)
    group = SigmoidContrastiveLoss()(left, right, keys, *args)
    pair = SigmoidContrastiveLoss()(left, right, None, *args)
    assert group == pairwise_sigmoid(left, right, keys, *args)
    assert pair == pairwise_sigmoid(left, right, single, *args)
    assert (group - pair).abs() > 1e-3


def test_a_bias_is_needed():
    eye = torch.eye(2)
    with pytest.raises(ValueError, match='needs a bias'):
        SigmoidContrastiveLoss()(eye, eye, None, torch.tensor(1.0))


def test_without_regions():
    left = torch.zeros(0, 8, requires_grad=True)
    right = torch.zeros(0, 8, requires_grad=True)
    scale = torch.tensor(2.0, requires_grad=True)
    bias = torch.tensor(-10.0, requires_grad=True)
    keys = torch.zeros(0, dtype=torch.long)
    loss = SigmoidContrastiveLoss()(left, right, keys, scale, bias)
    assert loss.item() == 0
    grads = torch.autograd.grad(loss, (left, right, scale, bias))
    assert grads[0].shape == grads[1].shape == (0, 8)
    assert grads[2] == grads[3] == 0


def test_autocast_changes_nothing():
    left, right = unit(7, 8).bfloat16(), unit(7, 8, seed=1).bfloat16()
    args = (torch.tensor(20.0), torch.tensor(-10.0))
    loss = SigmoidContrastiveLoss()
    expected = loss(left.float(), right.float(), None, *args)
    with torch.autocast('cpu', torch.bfloat16):
        found = loss(left, right, None, *args)
    assert found.dtype == torch.float32
    assert found == expected


def test_gradcheck():
    groups = torch.tensor([1, 2, 1, 3])
    inputs = (
        unit(4, 3).requires_grad_(),
        unit(4, 3, seed=1).requires_grad_(),
        scalar(2.0),
        scalar(-1.0),
    )
    assert torch.autograd.gradcheck(
        lambda a, b, s, t: SigmoidContrastiveLoss(chunk_size=2)(
            a, b, groups, s, t
        ),
        inputs,
    )


@pytest.mark.parametrize('gather_size', [2, 100])
@pytest.mark.parametrize('chunk_size', [1, 100])
def test_a_weight_counts_as_so_many_equal_pairs(
    monkeypatch, chunk_size, gather_size
):
    """Value and all gradients; the fourth pair is not there at all."""
    monkeypatch.setattr(info_nce, 'GATHER_SIZE', gather_size)
    groups = torch.tensor([0, 1, 0, 1, 4])
    weights = torch.tensor([2, 1, 3, 0, 1])
    leaves = [
        unit(5, 6).requires_grad_(),
        unit(5, 6, seed=1).requires_grad_(),
        scalar(7.0),
        scalar(-3.0),
    ]
    found = pairwise_sigmoid(
        *leaves[:2], groups, *leaves[2:], chunk_size, weights
    )
    copies = torch.arange(5).repeat_interleave(weights)
    expected = pairwise_sigmoid(
        leaves[0][copies], leaves[1][copies], groups[copies], *leaves[2:]
    )
    torch.testing.assert_close(found, expected, rtol=1e-12, atol=0)
    torch.testing.assert_close(
        torch.autograd.grad(found, leaves),
        torch.autograd.grad(expected, leaves),
        rtol=1e-11,
        atol=1e-13,
    )


def test_weights_of_one_change_no_bit():
    results = []
    for weights in (None, torch.ones(40)):
        left = unit(40, 16, dtype=torch.float32).requires_grad_()
        right = unit(40, 16, seed=1, dtype=torch.float32).requires_grad_()
        loss = pairwise_sigmoid(
            left,
            right,
            torch.arange(40) % 13,
            torch.tensor(10.0),
            torch.tensor(-10.0),
            weights=weights,
        )
        results.append((loss, *torch.autograd.grad(loss, (left, right))))
    assert all(torch.equal(*pair) for pair in zip(*results))
