"""What one rank of many holds while it computes a contrastive loss.

The other ranks are simulated: their rows are this rank's with the signs of
some channels turned, made when a piece is gathered. All but the two
collectives is the real path; real ranks are in ``utils/test_distributed.py``.
"""

import json
from collections import Counter

import numpy as np
import pytest
import torch
import torch.distributed as dist
import torch.nn.functional as F
from processes import peak_memory
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_flatten

from harmoclip_mm.models.losses import (
    ContrastiveLoss,
    SigmoidContrastiveLoss,
    info_nce,
)
from harmoclip_mm.models.losses.info_nce import symmetric_info_nce
from harmoclip_mm.models.utils import distributed


def rows_of_ranks(rows, ranks):
    """Rows (n, ...) of this rank as (ranks, n, ...) of all."""
    shift = torch.arange(ranks)
    if rows.dim() == 1:
        counts = len(rows) == 1  # each rank has as many rows
        return rows + (0 if counts else 10_000) * shift[:, None]
    channel = torch.arange(rows.shape[1])
    signs = 1 - 2 * ((shift[:, None] >> (channel % 8)) & 1)
    return rows * signs[:, None].to(rows.dtype)


def simulate(monkeypatch, ranks):
    """Makes this process rank 0 of many; gradients of others are dropped.

    Returns:
        dict: Bytes that the collectives gather and scatter, by type of data.
    """
    moved = Counter()

    def all_gather(rows):
        found = rows_of_ranks(rows, ranks)
        kind = 'rows' if rows.is_floating_point() else 'keys'
        moved['sizes' if rows.numel() == 1 else kind] += found.nbytes
        return found

    def reduce_scatter(parts):
        moved['gradients'] += parts.nbytes
        return parts[0]

    monkeypatch.setattr(distributed, 'get_world_size', lambda: ranks)
    monkeypatch.setattr(dist, 'get_rank', lambda: 0)
    monkeypatch.setattr(dist, 'all_reduce', lambda total: None)
    monkeypatch.setattr(distributed, '_all_gather', all_gather)
    monkeypatch.setattr(distributed, '_reduce_scatter', reduce_scatter)
    return moved


def make_rows(count, width, dtype=torch.float32):
    generator = torch.Generator().manual_seed(0)
    rows = torch.randn(2, count, width, generator=generator, dtype=dtype)
    left, right = F.normalize(rows, dim=-1)
    groups = torch.randint(0, count // 2, (count,), generator=generator)
    scale = torch.tensor(20.0, dtype=dtype, requires_grad=True)
    return left.requires_grad_(), right.requires_grad_(), groups, scale


@pytest.mark.parametrize('gather_size', [8, 20, 1000])
@pytest.mark.parametrize('chunk_size', [3, 1000])
def test_simulated_rank_equals_the_full_matrix(
    monkeypatch, gather_size, chunk_size
):
    ranks = 4
    simulate(monkeypatch, ranks)
    monkeypatch.setattr(info_nce, 'GATHER_SIZE', gather_size)
    left, right, groups, scale = make_rows(7, 6, torch.float64)
    loss = symmetric_info_nce(left, right, groups, scale, chunk_size)
    found = torch.autograd.grad(loss, (left, right, scale))

    target = groups[:, None] == rows_of_ranks(groups, ranks).flatten()
    target = target / target.sum(dim=1, keepdim=True).double()
    full = 0
    for queries, own in ((left, right), (right, left)):
        others = rows_of_ranks(own.detach(), ranks)[1:].flatten(0, 1)
        logits = scale * queries @ torch.cat([own, others]).t()
        full = full + F.cross_entropy(logits, target, reduction='sum') / 2
    # What global_mean makes of a sum; the simulated ranks add nothing to it.
    torch.testing.assert_close(loss, full / (7 * ranks), rtol=1e-12, atol=0)
    expected = torch.autograd.grad(full / 7, (left, right, scale))
    torch.testing.assert_close(found, expected, rtol=1e-11, atol=1e-13)


@pytest.mark.parametrize('gather_size', [8, 20, 1000])
@pytest.mark.parametrize('chunk_size', [3, 1000])
def test_simulated_rank_of_the_sigmoid_loss(
    monkeypatch, gather_size, chunk_size
):
    ranks = 4
    simulate(monkeypatch, ranks)
    monkeypatch.setattr(info_nce, 'GATHER_SIZE', gather_size)
    left, right, groups, scale = make_rows(8, 6, torch.float64)
    bias = torch.tensor(-5.0, dtype=torch.float64, requires_grad=True)
    leaves = (left, right, scale, bias)
    loss = SigmoidContrastiveLoss(chunk_size=chunk_size)(
        left, right, groups, scale, bias
    )
    found = torch.autograd.grad(loss, leaves)

    others = rows_of_ranks(right.detach(), ranks)[1:].flatten(0, 1)
    logits = scale * left @ torch.cat([right, others]).t() + bias
    target = groups[:, None] == rows_of_ranks(groups, ranks).flatten()
    full = F.binary_cross_entropy_with_logits(
        logits, target.double(), reduction='sum'
    )
    # What global_mean makes of a sum; the simulated ranks add nothing to it.
    torch.testing.assert_close(loss, full / (8 * ranks), rtol=1e-12, atol=0)
    expected = torch.autograd.grad(full / 8, leaves)
    torch.testing.assert_close(found, expected, rtol=1e-11, atol=1e-13)


class LargestTensor(TorchDispatchMode):
    """Keeps the number of entries of the largest tensor that was made."""

    size = 0

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        out = func(*args, **(kwargs or {}))
        for each in tree_flatten(out)[0]:
            if isinstance(each, torch.Tensor):
                self.size = max(self.size, each.numel())
        return out


def test_no_tensor_grows_with_the_number_of_ranks(monkeypatch):
    """64 rows of 1 rank and of 100: what is largest stays as large."""
    monkeypatch.setattr(info_nce, 'GATHER_SIZE', 640)
    left, right, groups, scale = make_rows(64, 16)
    simulate(monkeypatch, 100)
    with LargestTensor() as largest:
        loss = symmetric_info_nce(left, right, groups, scale, 128)
        loss.backward()
    # 640 keys of 16 numbers; 128 x 128 similarities; 6400 groups
    assert largest.size <= 128 * 128


def test_no_tensor_of_the_sigmoid_loss_grows_either(monkeypatch, saved_bytes):
    monkeypatch.setattr(info_nce, 'GATHER_SIZE', 640)
    left, right, groups, scale = make_rows(64, 16)
    bias = torch.tensor(-5.0, requires_grad=True)
    simulate(monkeypatch, 100)
    loss = SigmoidContrastiveLoss(chunk_size=128)
    with LargestTensor() as largest:
        loss(left, right, groups, scale, bias).backward()
    # 640 columns of 16 numbers; 128 x 128 logits; 6400 groups
    assert largest.size <= 128 * 128
    # Between forward and backward: the gradients of this rank's rows, twice
    # 64 x 16 float32, those of scale and bias, and scale
    kept = saved_bytes(lambda: loss(left, right, groups, scale, bias))
    assert kept <= 2 * 4 * 64 * 16 + 64


@pytest.mark.parametrize('streamed', [False, True])
def test_bytes_that_cross_the_network(monkeypatch, streamed):
    """Those of docs/scaling.md, section Network."""
    ranks, images, regions, width = 4, 6, 3, 16
    if streamed:  # LRC and GR, not GC
        monkeypatch.setattr(info_nce, 'GATHER_SIZE', ranks * images)
    moved = simulate(monkeypatch, ranks)
    left, right, _, scale = make_rows(images, width)
    loss = ContrastiveLoss()(left, right, None, scale)
    left, right, keys, scale = make_rows(images * regions, width)
    for _ in ('lrc', 'gr'):
        loss = loss + ContrastiveLoss()(left, right, keys, scale)
    loss.backward()
    rows = 4 * width * ranks * images * np.array([2, 4 * regions])
    assert moved['gradients'] == rows.sum()
    assert moved['rows'] == rows.sum() + (rows[1] if streamed else 0)
    assert moved['keys'] == 8 * ranks * images * (1 + 2 * regions)


@pytest.mark.parametrize('streamed', [False, True])
def test_the_sigmoid_loss_moves_one_side_only(monkeypatch, streamed):
    ranks, count, width = 4, 6, 16
    if streamed:
        monkeypatch.setattr(info_nce, 'GATHER_SIZE', ranks * 2)
    moved = simulate(monkeypatch, ranks)
    left, right, groups, scale = make_rows(count, width)
    SigmoidContrastiveLoss()(left, right, groups, scale, -scale).backward()
    assert moved['gradients'] == 4 * width * ranks * count
    assert moved['rows'] == 4 * width * ranks * count
    assert moved['keys'] == 8 * ranks * count


def measure(rank, file, path, loss, num_rows, ranks):
    """Peak memory in bytes of a loss, forward and backward."""
    torch.set_num_threads(2)
    patch = pytest.MonkeyPatch()
    spans, written = distributed.RowExchange.spans, slice(0)

    def first_spans(*args):
        nonlocal written
        written, second, *_ = spans(*args)
        start = second.start
        return [written, slice(start, start + (second.stop - start) // 8)]

    patch.setattr(distributed.RowExchange, 'spans', first_spans)
    simulate(patch, ranks)
    before = peak_memory()
    left, right, groups, scale = make_rows(num_rows, 512)
    loss(left, right, groups, scale, bias=-scale / 2).backward()
    peak = peak_memory() - before
    finite = all(
        bool(each.grad[written].isfinite().all()) for each in (left, right)
    )
    with open(path, 'w') as file:
        json.dump(dict(peak=peak, finite=finite), file)


@pytest.mark.slow
@pytest.mark.parametrize('loss', [ContrastiveLoss(), SigmoidContrastiveLoss()])
def test_peak_of_one_rank_of_64(run_ranks, tmp_path, loss):
    """5,000 regions against 320,000.

    Pieces are alike, so the first of ten and the start of the second, for
    which it has to go, are computed.
    """
    path = tmp_path / 'peak.json'
    run_ranks(measure, 1, str(path), loss, 5000, 64)
    found = json.loads(path.read_text())
    assert found['finite']
    # what the loss adds: rows, gathered pieces, tiles
    assert 1e8 < found['peak'] < 1e9
