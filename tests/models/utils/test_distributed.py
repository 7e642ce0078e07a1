"""Real processes give the loss and the gradient of one."""

import pytest
import torch
import torch.distributed as dist
import torch.nn.functional as F

from harmoclip_mm.engine import close_launcher
from harmoclip_mm.models.losses import (
    ConceptDistillationLoss,
    ContrastiveLoss,
    CropDistanceLoss,
    HardNegativeLoss,
    SigmoidContrastiveLoss,
    info_nce,
)
from harmoclip_mm.models.utils import RowExchange, gather_rows, global_mean


def batch():
    generator = torch.Generator().manual_seed(3)
    rows = torch.randn(3, 7, 6, generator=generator, dtype=torch.float64)
    return rows, torch.tensor([1, 2, 1, 3, 4, 2, 5])


def streamed(loss, *args):
    """The loss while no more than 3 columns of all ranks are held."""
    held, info_nce.GATHER_SIZE = info_nce.GATHER_SIZE, 3
    value = loss(*args)
    info_nce.GATHER_SIZE = held
    return value


def losses_of(weights, rows, keys):
    """All losses of embeddings made by shared parameters, which a rank
    without rows shares too."""
    matrix, bias = weights
    left, right, crops = (F.normalize(each @ matrix, dim=1) for each in rows)
    scale = matrix.square().sum()
    args = left, right, keys, scale, bias
    alone = left, right, None, scale, bias
    contrast, sigmoid = ContrastiveLoss, SigmoidContrastiveLoss
    negatives = torch.stack([crops, right.flip(1)], dim=1)
    mask = keys[:, None] > torch.tensor([1, 3])
    weights = keys / 5.0
    return [
        contrast()(*alone),
        contrast(chunk_size=2)(*args),
        streamed(contrast(chunk_size=2), *args),
        CropDistanceLoss()(left, crops) + 0 * bias,
        ConceptDistillationLoss()(left, crops, right, keys, scale) + 0 * bias,
        HardNegativeLoss()(left, right, negatives, mask, scale, weights)
        + 0 * bias,
        sigmoid()(*alone),
        sigmoid(chunk_size=3)(*args),
        streamed(sigmoid(chunk_size=2), *args),
    ]


def gradients(loss, weights):
    """Gradients as one row; each weight has one, on every rank."""
    grads = torch.autograd.grad(loss, weights, retain_graph=True)
    return torch.cat([each.flatten() for each in grads])


def make_weights():
    matrix = torch.eye(6, dtype=torch.float64, requires_grad=True)
    bias = torch.tensor(-3.0, dtype=torch.float64, requires_grad=True)
    return matrix, bias


def single():
    weights = make_weights()
    losses = losses_of(weights, *batch())
    grads = [gradients(each, weights) for each in losses]
    return torch.stack(losses).detach(), torch.stack(grads)


def check_spans(rows, gathered):
    """Pieces hold each row of each rank once, and no padding."""
    exchange = RowExchange(rows)
    for limit in (1, 4, 100):
        spans = exchange.spans(limit)
        pieces = [exchange.gather(rows, span) for span in spans]
        assert sum(map(len, pieces)) == len(gathered)
        assert max(map(len, pieces)) <= max(limit, len(exchange.sizes))
        for span, piece in zip(spans, pieces):
            torch.testing.assert_close(exchange.select(gathered, span), piece)
    assert len(spans) == 1


def worker(rank, file, splits, folder):
    torch.set_num_threads(1)
    dist.init_process_group('gloo', file, rank=rank, world_size=len(splits))
    start = sum(splits[:rank])
    part = slice(start, start + splits[rank])
    rows, keys = batch()
    gathered, offset = gather_rows(keys[part])
    assert gathered.tolist() == keys.tolist()
    assert offset == start
    check_spans(keys[part], gathered)
    weights = make_weights()
    losses = losses_of(weights, rows[:, part], keys[part])
    grads = []
    for loss in losses:
        grad = gradients(loss, weights)
        # What DistributedDataParallel does to gradients.
        dist.all_reduce(grad)
        grads.append(grad / len(splits))
    result = torch.stack(losses).detach(), torch.stack(grads)
    torch.save(result, f'{folder}/{rank}.pth')
    close_launcher()


@pytest.mark.parametrize('splits', [(4, 3), (7, 0), (2, 0, 5)])
def test_equals_one_process(run_ranks, tmp_path, splits):
    """Uneven ranks, one of them without a single row."""
    run_ranks(worker, len(splits), splits, str(tmp_path))
    expected = single()
    for rank in range(len(splits)):
        found = torch.load(tmp_path / f'{rank}.pth', weights_only=True)
        torch.testing.assert_close(found, expected, rtol=1e-10, atol=1e-12)


def test_one_process_needs_no_group():
    rows = torch.randn(3, 2)
    assert gather_rows(rows).rows is rows
    assert global_mean(torch.tensor(6.0), 3).item() == 2
    assert global_mean(torch.tensor(0.0), 0).item() == 0
