"""Real processes give the loss and the gradient of one."""

import os

import pytest
import torch
import torch.distributed as dist
import torch.nn.functional as F

from harmoclip_mm.models import (
    ConceptDistillationLoss,
    GlobalContrastiveLoss,
    GlobalRegionAlignmentLoss,
    GlobalSigmoidLoss,
    LexemeRegionContrastiveLoss,
    RegionSigmoidLoss,
)
from harmoclip_mm.models.losses import info_nce
from harmoclip_mm.models.utils import RowExchange, gather_rows, global_mean


def batch():
    generator = torch.Generator().manual_seed(3)
    rows = torch.randn(3, 7, 6, generator=generator, dtype=torch.float64)
    return rows, torch.tensor([1, 2, 1, 3, 4, 2, 5])


def streamed(left, right, keys, scale):
    """LRC while no more than 3 keys of all ranks are held."""
    held, info_nce.GATHER_SIZE = info_nce.GATHER_SIZE, 3
    loss = LexemeRegionContrastiveLoss(chunk_size=2)(left, right, keys, scale)
    info_nce.GATHER_SIZE = held
    return loss


def losses_of(weight, rows, keys):
    """All losses of embeddings made by one shared parameter."""
    left, right, crops = (F.normalize(each @ weight, dim=1) for each in rows)
    scale = weight.square().sum()
    return [
        GlobalContrastiveLoss()(left, right, scale),
        LexemeRegionContrastiveLoss(chunk_size=2)(left, right, keys, scale),
        LexemeRegionContrastiveLoss('pair')(left, right, keys, scale),
        GlobalRegionAlignmentLoss()(left, keys, scale, right, crops),
        streamed(left, right, keys, scale),
        ConceptDistillationLoss()(left, crops, right, keys, scale),
        GlobalSigmoidLoss().double()(left, right, scale),
        RegionSigmoidLoss(chunk_size=3).double()(left, right, keys, scale),
    ]


def single():
    weight = torch.eye(6, dtype=torch.float64, requires_grad=True)
    losses = losses_of(weight, *batch())
    grads = [
        torch.autograd.grad(each, weight, retain_graph=True)[0]
        for each in losses
    ]
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


def worker(rank, port, splits, folder):
    torch.set_num_threads(1)
    os.environ.update(MASTER_ADDR='127.0.0.1', MASTER_PORT=str(port))
    dist.init_process_group('gloo', rank=rank, world_size=len(splits))
    start = sum(splits[:rank])
    part = slice(start, start + splits[rank])
    rows, keys = batch()
    gathered, offset = gather_rows(keys[part])
    assert gathered.tolist() == keys.tolist()
    assert offset == start
    check_spans(keys[part], gathered)
    weight = torch.eye(6, dtype=torch.float64, requires_grad=True)
    losses = losses_of(weight, rows[:, part], keys[part])
    grads = []
    for loss in losses:
        (grad,) = torch.autograd.grad(loss, weight, retain_graph=True)
        # What DistributedDataParallel does to gradients.
        dist.all_reduce(grad)
        grads.append(grad / len(splits))
    result = torch.stack(losses).detach(), torch.stack(grads)
    torch.save(result, f'{folder}/{rank}.pth')
    dist.destroy_process_group()


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
