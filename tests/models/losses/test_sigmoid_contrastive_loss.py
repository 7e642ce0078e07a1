"""SigLIP's pairwise loss."""

import math

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from harmoclip_mm.models.losses import (
    GlobalSigmoidLoss,
    RegionSigmoidLoss,
    pairwise_sigmoid,
)


def unit(*shape, seed=0, dtype=torch.float64):
    generator = torch.Generator().manual_seed(seed)
    rows = torch.randn(*shape, generator=generator, dtype=dtype)
    return F.normalize(rows, dim=-1)


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


@pytest.mark.parametrize('chunk_size', [1, 4, 100])
def test_against_numpy(chunk_size):
    left, right = unit(9, 5), unit(9, 5, seed=1)
    groups = [0, 1, 2, 0, 4, 1, 1, 7, 8]
    scale, bias = 7.0, -3.0
    total = 0.0
    for i, query in enumerate(left.numpy()):
        for j, key in enumerate(right.numpy()):
            sign = 1 if groups[i] == groups[j] else -1
            logit = sign * (scale * float(np.dot(query, key)) + bias)
            total += math.log(1 + math.exp(-logit))
    loss = RegionSigmoidLoss(2.0, bias, chunk_size).double()(
        left, right, torch.tensor(groups), torch.tensor(scale).double()
    )
    assert loss.item() == pytest.approx(2 * total / 9, rel=1e-12)


@pytest.mark.parametrize('chunk_size', [4, 1024])
def test_equals_open_clip(chunk_size):
    """Value and gradients of open_clip's SigLipLoss."""
    open_clip = pytest.importorskip('open_clip')
    leaves = [
        unit(9, 8).requires_grad_(),
        unit(9, 8, seed=1).requires_grad_(),
        torch.tensor(10.0).double().requires_grad_(),
        torch.tensor(-10.0).double().requires_grad_(),
    ]
    ours = GlobalSigmoidLoss(chunk_size=chunk_size).double()
    ours.bias = torch.nn.Parameter(leaves[3].detach().clone())
    found = ours(*leaves[:3])
    expected = open_clip.loss.SigLipLoss()(*leaves)
    torch.testing.assert_close(found, expected, rtol=1e-12, atol=0)
    torch.testing.assert_close(
        torch.autograd.grad(found, [*leaves[:3], ours.bias]),
        torch.autograd.grad(expected, leaves),
        rtol=1e-10,
        atol=1e-13,
    )


def test_without_regions():
    empty = torch.zeros(0, 8, requires_grad=True)
    loss = RegionSigmoidLoss()
    value = loss(
        empty, empty, torch.zeros(0, dtype=torch.long), torch.tensor(2.0)
    )
    assert value.item() == 0
    value.backward()
    assert loss.bias.grad.item() == 0
