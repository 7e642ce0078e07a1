"""InfoNCE with several positives."""

import math

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from harmoclip_mm.models.losses import (
    GlobalContrastiveLoss,
    GlobalRegionAlignmentLoss,
    LexemeRegionContrastiveLoss,
    cosine_distance,
    info_nce,
    multi_positive_info_nce,
    symmetric_info_nce,
)


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
    # -t * 1 + t * 0.
    query = torch.tensor([[1.0, 0.0]], requires_grad=True)
    keys = torch.eye(2, requires_grad=True)
    scale = torch.tensor(1.0, requires_grad=True)
    ids = torch.arange(2)
    multi_positive_info_nce(query, keys, ids[:1], ids, scale).backward()
    t = 1 / (math.e + 1)
    torch.testing.assert_close(query.grad, torch.tensor([[-t, t]]))
    torch.testing.assert_close(keys.grad, torch.tensor([[-t, 0], [t, 0]]))
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


def test_global_contrastive_equals_open_clip():
    open_clip = pytest.importorskip('open_clip')
    image, text = unit(9, 8).float(), unit(9, 8, seed=1).float()
    scale = torch.tensor(20.0)
    ours = GlobalContrastiveLoss()(image, text, scale)
    theirs = open_clip.ClipLoss()(image, text, scale)
    torch.testing.assert_close(ours, theirs, rtol=1e-6, atol=1e-6)


def test_loss_weights():
    image, text = unit(5, 8), unit(5, 8, seed=1)
    keys, scale = torch.arange(5), torch.tensor(3.0, dtype=torch.float64)
    once = GlobalContrastiveLoss()(image, text, scale)
    assert GlobalContrastiveLoss(0.5)(image, text, scale) == once * 0.5
    lrc = LexemeRegionContrastiveLoss(loss_weight=2.0)
    torch.testing.assert_close(lrc(image, text, keys, scale), once * 2)
    gr = GlobalRegionAlignmentLoss(text_weight=3.0, loss_weight=2.0)
    torch.testing.assert_close(gr(image, keys, scale, text), once * 6)


def test_positives_modes():
    rows, other = unit(4, 8), unit(4, 8, seed=1)
    scale = torch.tensor(3.0, dtype=torch.float64)
    keys = torch.tensor([5, 5, 6, 7])
    phrase = LexemeRegionContrastiveLoss('phrase')(rows, other, keys, scale)
    pair = LexemeRegionContrastiveLoss('pair')(rows, other, keys, scale)
    assert pair.item() == pytest.approx(
        numpy_info_nce(rows, other, range(4), 3.0)
    )
    assert phrase.item() == pytest.approx(
        numpy_info_nce(rows, other, keys.tolist(), 3.0)
    )
    assert phrase != pair
    with pytest.raises(ValueError, match=r"positives='soft'.*'phrase'"):
        LexemeRegionContrastiveLoss('soft')


def test_without_regions():
    """No region anywhere: zero, and the graph stays whole."""
    regions = torch.zeros(0, 8, requires_grad=True)
    phrases = torch.zeros(0, 8, requires_grad=True)
    scale = torch.tensor(3.0, requires_grad=True)
    keys = torch.zeros(0, dtype=torch.long)
    for loss in (
        LexemeRegionContrastiveLoss()(regions, phrases, keys, scale),
        GlobalRegionAlignmentLoss()(
            regions, keys, scale, phrases=phrases, crops=phrases
        ),
    ):
        assert loss.item() == 0
        scale.grad = None
        loss.backward()
        assert scale.grad.item() == 0


def test_cosine_distance_by_hand():
    # cos of (3, 4) and (4, 3) is 24 / 25; of equal rows 1; of opposite -1:
    # 0.04 + 0 + 2 = 2.04, however long the rows are.
    regions = torch.tensor([[3.0, 4.0], [1.0, 0.0], [0.0, 2.0]])
    crops = torch.tensor([[0.8, 0.6], [5.0, 0.0], [0.0, -1.0]])
    assert cosine_distance(regions, crops).item() == pytest.approx(2.04)


def test_crop_term_is_a_mean():
    regions = torch.tensor([[0.6, 0.8], [1.0, 0.0]], requires_grad=True)
    crops = torch.tensor([[0.8, 0.6], [0.0, 1.0]], requires_grad=True)
    keys = torch.arange(2)
    loss = GlobalRegionAlignmentLoss(crop_weight=2.0)(
        regions, keys, torch.tensor(1.0), crops=crops
    )
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


def test_gradcheck():
    groups = torch.tensor([1, 2, 1, 3])
    left = unit(4, 3).requires_grad_()
    right = unit(4, 3, seed=1).requires_grad_()
    scale = torch.tensor(2.0, dtype=torch.float64, requires_grad=True)
    inputs = (left, right, scale)
    assert torch.autograd.gradcheck(GlobalContrastiveLoss(), inputs)
    assert torch.autograd.gradcheck(
        lambda a, b, s: LexemeRegionContrastiveLoss(chunk_size=2)(
            a, b, groups, s
        ),
        inputs,
    )
    assert torch.autograd.gradcheck(
        lambda a, b, s: GlobalRegionAlignmentLoss()(a, groups, s, phrases=b),
        inputs,
    )
    assert torch.autograd.gradcheck(
        lambda a, b, s: GlobalRegionAlignmentLoss()(a, None, s, crops=b),
        inputs,
    )


def test_sum_over_queries_only():
    """Local rows against more columns, as every rank computes them."""
    keys = unit(6, 4)
    groups = torch.arange(6)
    scale = torch.tensor(4.0, dtype=torch.float64)
    whole = multi_positive_info_nce(keys, keys, groups, groups, scale)
    parts = [
        multi_positive_info_nce(keys[part], keys, groups[part], groups, scale)
        for part in (slice(0, 2), slice(2, 6))
    ]
    torch.testing.assert_close(sum(parts), whole)
