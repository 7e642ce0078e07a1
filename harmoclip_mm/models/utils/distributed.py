"""The one place where embeddings cross ranks.

A contrastive loss over the global batch is exact under data parallelism when
three things hold: gathered embeddings carry gradients back to the rank that
made them, every rank computes only its own rows against the global columns,
and sums are divided by the *global* number of rows. ``gather_rows`` does the
first, the losses do the second, ``global_mean`` the third.
"""

from typing import Any, NamedTuple

import torch
import torch.distributed as dist
from torch import Tensor


class GatheredRows(NamedTuple):
    """Rows of all ranks, in rank order.

    Attributes:
        rows (Tensor): All rows, shape (N, ...).
        offset (int): Position of this rank's first row among them.
    """

    rows: Tensor
    offset: int


def world_size() -> int:
    """Number of ranks; 1 when there is no process group."""
    if dist.is_available() and dist.is_initialized():
        return dist.get_world_size()
    return 1


class _AllGather(torch.autograd.Function):
    """Stacks equal shapes of all ranks, (ranks, n, ...), with gradient.

    The backward sums over ranks what each asks of these rows, and keeps this
    rank's part. ``torch.distributed.nn.functional.all_gather`` did the same;
    recent torch deprecates it, and its successors are private.
    """

    @staticmethod
    def forward(ctx: Any, rows: Tensor) -> Tensor:
        parts = [torch.empty_like(rows) for _ in range(dist.get_world_size())]
        dist.all_gather(parts, rows)
        return torch.stack(parts)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> Tensor:
        grad = grad.contiguous()
        if dist.get_backend() == 'nccl':
            part = torch.empty_like(grad[0])
            dist.reduce_scatter_tensor(part, grad)
            return part
        # gloo has no reduce-scatter in the torch versions supported.
        dist.all_reduce(grad)
        return grad[dist.get_rank()]


def gather_rows(rows: Tensor) -> GatheredRows:
    """Concatenates the rows of every rank, which may differ in number.

    Floating point rows keep their gradient: its backward sends each rank the
    sum of what all ranks ask of its rows (gathers whose backward slices only
    the local part lose the other ranks' terms).

    Args:
        rows (Tensor): Rows of this rank, shape (n, ...); n may be 0.

    Returns:
        GatheredRows: The rows of all ranks and this rank's offset.
    """
    ranks = world_size()
    if ranks == 1:
        return GatheredRows(rows, 0)
    count = torch.tensor([rows.shape[0]], device=rows.device)
    counts = [torch.empty_like(count) for _ in range(ranks)]
    dist.all_gather(counts, count)
    sizes = torch.cat(counts).tolist()
    offset = sum(sizes[: dist.get_rank()])
    largest = max(sizes)
    if largest == 0:
        return GatheredRows(rows, 0)
    # Collectives want equal shapes, so short ranks pad; the padding is cut
    # off below, before it can enter a softmax.
    padding = rows.new_zeros((largest - rows.shape[0], *rows.shape[1:]))
    padded = torch.cat([rows, padding]).contiguous()
    parts = _AllGather.apply(padded)
    gathered = torch.cat([part[:size] for part, size in zip(parts, sizes)])
    return GatheredRows(gathered, offset)


def global_mean(local_sum: Tensor, global_count: int) -> Tensor:
    """Mean over the rows of all ranks, seen identically by every rank.

    Its value is the global mean. Its gradient is ``world_size`` times that of
    this rank's share, because DistributedDataParallel divides the sum of the
    ranks' gradients by ``world_size``: what arrives is the gradient of the
    single-process loss.

    Args:
        local_sum (Tensor): Sum over this rank's rows, scalar.
        global_count (int): Number of rows on all ranks. With 0 the result
            is 0 and keeps the graph whole.

    Returns:
        Tensor: The mean, scalar.
    """
    count = max(global_count, 1)
    ranks = world_size()
    if ranks == 1:
        return local_sum / count
    total = local_sum.detach().clone()
    dist.all_reduce(total)
    share = local_sum * ranks / count
    return share + (total / count - share).detach()
