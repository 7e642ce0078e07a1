"""InfoNCE with several positives."""

import math

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from harmoclip_mm.models.losses import info_nce
from harmoclip_mm.models.losses.info_nce import symmetric_info_nce


def numpy_info_nce(left, right, groups, scale):
    """The definition, pair by pair, in float64."""
    left, right = np.asarray(left, 'f8'), np.asarray(right, 'f8')
    total = 0.0
    for queries, keys in ((left, right), (right, left)):
        for i, query in enumerate(queries):
            row = [scale * float(query @ key) for key in keys]
            log_sum = math.log(sum(math.exp(value) for value in row))
            positive = [
                row[j] for j in range(len(row)) if groups[j] == groups[i]
            ]
            total += sum(log_sum - value for value in positive) / len(positive)
    return total / (2 * len(left))


def unit(*shape, seed=0, dtype=torch.float64):
    generator = torch.Generator().manual_seed(seed)
    rows = torch.randn(*shape, generator=generator, dtype=dtype)
    return F.normalize(rows, dim=-1)


def test_by_hand():
    # Two orthogonal pairs, scale 1: each row's similarities are (1, 0), its
    # cross entropy log(e + 1) - 1 = 0.313262; the mean over rows and
    # directions is the same.
    eye = torch.eye(2, dtype=torch.float64)
    loss = symmetric_info_nce(
        eye, eye, torch.arange(2), torch.tensor(1.0, dtype=torch.float64)
    )
    assert loss.item() == pytest.approx(0.31326168751822286, abs=1e-12)


def test_equal_phrases_by_hand():
    # Rows 0 and 1 share a phrase and an embedding, row 2 is orthogonal,
    # scale 1. Rows 0, 1: similarities (1, 1, 0), positives 0 and 1:
    # log(2e + 1) - (1 + 1) / 2 = 0.861995. Row 2: (0, 0, 1), positive 2:
    # log(2 + e) - 1 = 0.551445. Mean (2 * 0.861995 + 0.551445) / 3.
    rows = torch.tensor([[1.0, 0.0], [1.0, 0.0], [0.0, 1.0]])
    groups = torch.tensor([7, 7, 9])
    loss = symmetric_info_nce(rows, rows, groups, torch.tensor(1.0))
    expected = (2 * (math.log(2 * math.e + 1) - 1)) / 3
    expected += (math.log(2 + math.e) - 1) / 3
    assert expected == pytest.approx(0.758478, abs=1e-6)
    assert loss.item() == pytest.approx(expected, abs=1e-6)


@pytest.mark.parametrize('chunk_size', [1, 4, 100])
def test_against_numpy(chunk_size):
    left, right = unit(11, 6), unit(11, 6, seed=1)
    groups = torch.tensor([0, 1, 2, 0, 4, 5, 1, 1, 8, 9, 0])
    scale = torch.tensor(7.0, dtype=torch.float64)
    loss = symmetric_info_nce(left, right, groups, scale, chunk_size)
    expected = numpy_info_nce(left, right, groups.tolist(), 7.0)
    assert loss.item() == pytest.approx(expected, rel=1e-12)


def full_matrix(left, right, groups, scale):
    """torch's cross entropy of the matrix of all similarities."""
    logits = scale * left @ right.t()
    target = (groups[:, None] == groups).double()
    target = target / target.sum(dim=1, keepdim=True)
    loss = F.cross_entropy(logits, target)
    return (loss + F.cross_entropy(logits.t(), target)) / 2


@pytest.mark.parametrize('gather_size', [1, 3, 8, 100])
@pytest.mark.parametrize('chunk_size', [1, 3, 100])
def test_against_the_full_matrix(monkeypatch, chunk_size, gather_size):
    """Value and all gradients, with many tiles and pieces and with one."""
    monkeypatch.setattr(info_nce, 'GATHER_SIZE', gather_size)
    groups = torch.tensor([0, 1, 2, 0, 4, 5, 1, 1, 8, 9, 0])
    scale = torch.tensor(50.0, dtype=torch.float64, requires_grad=True)
    leaves = [
        unit(11, 6).requires_grad_(),
        unit(11, 6, seed=1).requires_grad_(),
        scale,
    ]
    found = symmetric_info_nce(*leaves[:2], groups, scale, chunk_size) * 3
    expected = full_matrix(*leaves[:2], groups, scale) * 3
    torch.testing.assert_close(found, expected, rtol=1e-12, atol=0)
    torch.testing.assert_close(
        torch.autograd.grad(found, leaves),
        torch.autograd.grad(expected, leaves),
        rtol=1e-11,
        atol=1e-13,
    )


def test_gradients_by_hand():
    # Query (1, 0), keys (1, 0) and (0, 1), the first positive, scale 1:
    # softmax (e, 1) / (e + 1), minus target: (-t, t) with t = 1 / (e + 1).
    # By the query: -t k_1 + t k_2; by the keys: -t q and t q; by the scale:
    # -t * 1 + t * 0. Each row is a query and a key, with a weight of 1/4.
    left, right = (torch.eye(2, requires_grad=True) for _ in range(2))
    scale = torch.tensor(1.0, requires_grad=True)
    symmetric_info_nce(left, right, torch.arange(2), scale).backward()
    t = 1 / (math.e + 1)
    expected = torch.tensor([[-t, t], [t, -t]]) / 2
    torch.testing.assert_close(left.grad, expected)
    torch.testing.assert_close(right.grad, expected)
    torch.testing.assert_close(scale.grad, torch.tensor(-t))


def test_float32_is_as_accurate_as_logsumexp():
    """At CLIP's largest scale, in many tiles."""
    left, right, groups = (
        unit(300, 16),
        unit(300, 16, seed=1),
        torch.arange(300),
    )
    scale = torch.tensor(100.0, dtype=torch.float64)
    exact = full_matrix(left, right, groups, scale)
    found = symmetric_info_nce(
        left.float(), right.float(), groups, scale.float(), chunk_size=7
    )
    assert found.item() == pytest.approx(exact.item(), rel=2e-6)


def test_chunks_give_the_same_gradient():
    grads = []
    for chunk_size in (3, 100):
        left = unit(10, 4).requires_grad_()
        right = unit(10, 4, seed=1).requires_grad_()
        scale = torch.tensor(5.0, dtype=torch.float64, requires_grad=True)
        groups = torch.arange(10) % 7
        symmetric_info_nce(left, right, groups, scale, chunk_size).backward()
        grads.append((left.grad, right.grad, scale.grad))
    for one, other in zip(*grads):
        torch.testing.assert_close(one, other, rtol=1e-12, atol=1e-14)


def weighted(left, right, groups, scale, weights, chunk_size=1024):
    return symmetric_info_nce(left, right, groups, scale, chunk_size, weights)


@pytest.mark.parametrize('gather_size', [3, 100])
@pytest.mark.parametrize('chunk_size', [1, 3, 100])
def test_a_weight_counts_as_so_many_equal_pairs(
    monkeypatch, chunk_size, gather_size
):
    """Value and all gradients; the fourth pair is not there at all."""
    monkeypatch.setattr(info_nce, 'GATHER_SIZE', gather_size)
    groups = torch.tensor([0, 1, 0, 1, 4])
    weights = torch.tensor([2, 1, 3, 0, 1])
    scale = torch.tensor(5.0, dtype=torch.float64, requires_grad=True)
    leaves = [
        unit(5, 6).requires_grad_(),
        unit(5, 6, seed=1).requires_grad_(),
        scale,
    ]
    found = weighted(*leaves[:2], groups, scale, weights.double(), chunk_size)
    copies = torch.arange(5).repeat_interleave(weights)
    expected = symmetric_info_nce(
        leaves[0][copies], leaves[1][copies], groups[copies], scale
    )
    torch.testing.assert_close(found, expected, rtol=1e-12, atol=0)
    torch.testing.assert_close(
        torch.autograd.grad(found, leaves),
        torch.autograd.grad(expected, leaves),
        rtol=1e-11,
        atol=1e-13,
    )


def test_weights_by_hand():
    # Two orthogonal pairs, scale 1, weights 1 and 1/2. Row 0: similarities
    # (1, 0): log(e + 1/2) - 1; row 1: log(1 + e / 2) - 1. Their weighted mean
    # is the same in both directions.
    eye = torch.eye(2, dtype=torch.float64)
    weights = torch.tensor([1, 0.5])
    scale = torch.tensor(1.0, dtype=torch.float64)
    loss = weighted(eye, eye, torch.arange(2), scale, weights)
    rows = math.log(math.e + 0.5) - 1, math.log(1 + math.e / 2) - 1
    expected = (rows[0] + rows[1] / 2) / 1.5
    assert loss.item() == pytest.approx(expected, abs=1e-12)


@pytest.mark.parametrize('chunk_size', [3, 100])
def test_weights_of_one_change_no_bit(chunk_size):
    results = []
    for weights in (None, torch.ones(40)):
        left = unit(40, 16, dtype=torch.float32).requires_grad_()
        right = unit(40, 16, seed=1, dtype=torch.float32).requires_grad_()
        scale = torch.tensor(30.0, requires_grad=True)
        loss = weighted(
            left, right, torch.arange(40) % 13, scale, weights, chunk_size
        )
        grads = torch.autograd.grad(loss, (left, right, scale))
        results.append((loss, *grads))
    assert all(torch.equal(*pair) for pair in zip(*results))


def test_without_any_weight_there_is_no_loss():
    left = unit(4, 8).requires_grad_()
    scale = torch.tensor(100.0, dtype=torch.float64)
    loss = weighted(left, left, torch.arange(4), scale, torch.zeros(4))
    loss.backward()
    assert loss == 0 and (left.grad == 0).all()
