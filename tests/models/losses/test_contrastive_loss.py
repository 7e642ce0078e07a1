"""CLIP's loss, of any pairs."""

import pytest
import torch
import torch.nn.functional as F

from harmoclip_mm.models.losses import ContrastiveLoss
from harmoclip_mm.models.losses.info_nce import symmetric_info_nce


def unit(*shape, seed=0, dtype=torch.float64):
    generator = torch.Generator().manual_seed(seed)
    rows = torch.randn(*shape, generator=generator, dtype=dtype)
    return F.normalize(rows, dim=-1)


def scalar(value):
    return torch.tensor(value, dtype=torch.float64, requires_grad=True)


def test_by_hand():
    # Three orthogonal pairs, scale 1: each row's similarities are one 1 and
    # two 0, its logarithm log(e + 2) = 1.551445. One positive a row, whose
    # similarity is 1: 0.551445. Pairs 0 and 1 of one group: their rows have
    # the mean of 1 and 0, so 1.551445 - (0.5 + 0.5 + 1) / 3 = 0.884778.
    eye, groups = torch.eye(3), torch.tensor([7, 7, 9])
    for given, expected in ((None, 0.551445), (groups, 0.884778)):
        found = ContrastiveLoss()(eye, eye, given, torch.tensor(1.0)).item()
        assert found == pytest.approx(expected, abs=1e-6)


@pytest.mark.parametrize('chunk_size', [4, 1024])
def test_equals_open_clip(chunk_size):
    """Value and gradients of open_clip's ClipLoss."""
    open_clip = pytest.importorskip('open_clip')
    leaves = [
        unit(9, 8).requires_grad_(),
        unit(9, 8, seed=1).requires_grad_(),
        scalar(20.0),
    ]
    left, right, scale = leaves
    found = ContrastiveLoss(chunk_size=chunk_size)(left, right, None, scale)
    expected = open_clip.ClipLoss()(*leaves)
    torch.testing.assert_close(found, expected, rtol=1e-12, atol=0)
    torch.testing.assert_close(
        torch.autograd.grad(found, leaves),
        torch.autograd.grad(expected, leaves),
        rtol=1e-10,
        atol=1e-13,
    )


def test_positives():
    left, right, scale = unit(4, 8), unit(4, 8, seed=1), scalar(3.0)
    keys, single = torch.tensor([5, 5, 6, 7]), torch.arange(4)
    group = ContrastiveLoss()(left, right, keys, scale)
    pair = ContrastiveLoss()(left, right, None, scale)
    assert group == symmetric_info_nce(left, right, keys, scale)
    assert pair == symmetric_info_nce(left, right, single, scale)
    assert (group - pair).abs() > 1e-3
    # of partners that are one embedding it is all the same
    right = torch.cat([right[:1], right[:1], right[2:]])
    torch.testing.assert_close(
        ContrastiveLoss()(left, right, keys, scale),
        ContrastiveLoss()(left, right, None, scale),
    )


def test_loss_weight():
    left, right, scale = unit(5, 8), unit(5, 8, seed=1), scalar(3.0)
    once = ContrastiveLoss()(left, right, None, scale)
    assert ContrastiveLoss(0.5)(left, right, None, scale) == once * 0.5


def test_a_bias_changes_nothing():
    """Not the loss, and its own gradient is there and 0."""
    left, right, scale = unit(5, 8), unit(5, 8, seed=1), scalar(3.0)
    groups = torch.tensor([1, 2, 1, 3, 4])
    bias = scalar(-10.0)
    loss = ContrastiveLoss()(left, right, groups, scale, bias)
    assert loss == ContrastiveLoss()(left, right, groups, scale)
    assert torch.autograd.grad(loss, bias)[0] == 0


def test_without_pairs():
    """No pair anywhere: zero, and the graph stays whole."""
    left = torch.zeros(0, 8, requires_grad=True)
    right = torch.zeros(0, 8, requires_grad=True)
    scale = torch.tensor(3.0, requires_grad=True)
    for groups in (None, torch.zeros(0, dtype=torch.long)):
        loss = ContrastiveLoss()(left, right, groups, scale)
        assert loss.item() == 0
        grads = torch.autograd.grad(loss, (left, right, scale))
        assert grads[0].shape == grads[1].shape == (0, 8)
        assert grads[2] == 0


def test_autocast_changes_nothing():
    left, right = unit(7, 8).bfloat16(), unit(7, 8, seed=1).bfloat16()
    scale = torch.tensor(20.0)
    expected = ContrastiveLoss()(left.float(), right.float(), None, scale)
    with torch.autocast('cpu', torch.bfloat16):
        found = ContrastiveLoss()(left, right, None, scale)
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
    for given in (groups, None):
        assert torch.autograd.gradcheck(
            lambda a, b, s, t, given=given: ContrastiveLoss(chunk_size=2)(
                a, b, given, s, t
            ),
            inputs,
        )
