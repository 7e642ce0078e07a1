"""The one place where embeddings cross ranks.

A contrastive loss over the global batch is exact under data parallelism when
three things hold: gathered embeddings carry gradients back to the rank that
made them, every rank computes only its own rows against the global columns,
and sums are divided by the *global* number of rows. ``gather_rows`` does the
first, the losses do the second, ``global_mean`` the third. ``RowExchange``
is the first in pieces, for losses over more rows than fit in memory.
"""

from typing import Any, List, NamedTuple, Optional, Tuple, Union

import torch
import torch.distributed as dist
from mmengine.dist import get_rank, get_world_size
from torch import Tensor


class GatheredRows(NamedTuple):
    """Rows of all ranks, in rank order.

    Attributes:
        rows (Tensor): All rows, shape (N, ...).
        offset (int): Position of this rank's first row among them.
    """

    rows: Tensor
    offset: int


class RowExchange:
    """Moves rows between ranks that may have different numbers of them.

    A *span* is a slice of the rows of each rank: ``slice(0, 16)`` are the
    first 16 rows of every rank, of fewer where a rank has fewer. Whoever
    cannot hold the rows of all ranks walks through them span by span.
    Collectives want equal shapes, so short ranks pad; the padding is cut off
    here, before it can enter a softmax.

    Building an exchange is a collective; so are :meth:`gather` and
    :meth:`reduce`. Every rank must call them in the same order, also a rank
    without rows.

    Args:
        rows (Tensor): Rows of this rank, shape (n, ...), of which only the
            number matters; n may be 0.

    Attributes:
        sizes (List[int]): Number of rows of each rank.
        total (int): Number of rows of all ranks.
        offset (int): Position of this rank's first row among them.
    """

    def __init__(self, rows: Tensor) -> None:
        self.sizes = [len(rows)]
        if get_world_size() > 1:
            count = torch.tensor([len(rows)], device=rows.device)
            self.sizes = _all_gather(count).flatten().tolist()
        self.total = sum(self.sizes)
        self.offset = sum(self.sizes[: get_rank()])

    def spans(self, limit: int) -> List[slice]:
        """Spans that cover all rows, of ``limit`` rows of all ranks at most.

        A span holds at least one row of each rank, whatever the limit.
        """
        largest = max(self.sizes)
        step = max(limit // len(self.sizes), 1)
        if self.total <= limit:
            step = max(largest, 1)  # uneven ranks need not be cut
        return [slice(i, i + step) for i in range(0, largest, step)]

    def gather(self, rows: Tensor, span: slice = slice(None)) -> Tensor:
        """Concatenates a span of the rows of all ranks, in rank order.

        Args:
            rows (Tensor): Rows of this rank, shape (n, ...).
            span (slice): Rows wanted of each rank. Defaults to all.

        Returns:
            Tensor: Rows of all ranks, without gradient if there is more than
            one rank; see :func:`gather_rows`.
        """
        if len(self.sizes) == 1:
            return rows[span]
        lengths = self._lengths(span)
        padded = _pad(rows[span], max(lengths))
        return _cut(_all_gather(padded), lengths)

    def select(
        self, gathered: Optional[Tensor], span: slice
    ) -> Optional[Tensor]:
        """Takes from the rows of all ranks (N, ...) what ``gather`` would
        give for the span; None where there are none."""
        if gathered is None:
            return None
        if len(self.sizes) == 1:
            return gathered[span]
        parts = [part[span] for part in gathered.split(self.sizes)]
        return torch.cat(parts)

    def reduce(self, grad: Tensor, span: slice = slice(None)) -> Tensor:
        """Sends gradients of gathered rows back to the ranks that own them.

        Args:
            grad (Tensor): What this rank asks of the rows of a span of all
                ranks, as :meth:`gather` orders them.
            span (slice): The span. Defaults to all rows.

        Returns:
            Tensor: Sum over all ranks of what they ask of this rank's rows
            in the span, shape (n, ...).
        """
        if len(self.sizes) == 1:
            return grad
        lengths = self._lengths(span)
        longest = max(lengths)
        parts = [_pad(part, longest) for part in grad.split(lengths)]
        own = _reduce_scatter(torch.stack(parts))
        return own[: lengths[get_rank()]]

    def _lengths(self, span: slice) -> List[int]:
        """Number of rows that each rank has in a span."""
        return [len(range(size)[span]) for size in self.sizes]


def _pad(rows: Tensor, length: int) -> Tensor:
    if len(rows) == length:
        return rows
    return torch.cat(
        [rows, rows.new_zeros((length - len(rows), *rows.shape[1:]))]
    )


def _cut(padded: Tensor, lengths: List[int]) -> Tensor:
    if min(lengths) == max(lengths):
        return padded.flatten(0, 1)
    return torch.cat([part[:n] for part, n in zip(padded, lengths)])


def _all_gather(rows: Tensor) -> Tensor:
    """Stacks equal shapes (n, ...) of all ranks, (ranks, n, ...)."""
    stacked = rows.new_empty((get_world_size(), *rows.shape))
    if not rows.numel():
        return stacked
    if dist.get_backend() == 'nccl':
        dist.all_gather_into_tensor(stacked, rows.contiguous())
    else:
        dist.all_gather(list(stacked), rows.contiguous())
    return stacked


def _reduce_scatter(parts: Tensor) -> Tensor:
    """Sums (ranks, n, ...) over the ranks; keeps this rank's (n, ...)."""
    if not parts.numel():
        return parts[get_rank()]
    if dist.get_backend() == 'nccl':
        part = torch.empty_like(parts[0])
        dist.reduce_scatter_tensor(part, parts)
        return part
    # gloo has no reduce-scatter in the torch versions supported.
    dist.all_reduce(parts)
    return parts[get_rank()]


class _Gather(torch.autograd.Function):
    """``RowExchange.gather`` of all rows, with gradient.

    ``torch.distributed.nn.functional.all_gather`` did the same for equal
    shapes; recent torch deprecates it, and its successors are private.
    """

    @staticmethod
    def forward(ctx: Any, rows: Tensor, exchange: RowExchange) -> Tensor:
        ctx.exchange = exchange
        return exchange.gather(rows)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> Tuple[Tensor, None]:
        return ctx.exchange.reduce(grad), None


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
    exchange = RowExchange(rows)
    if len(exchange.sizes) == 1:
        return GatheredRows(rows, 0)
    return GatheredRows(_Gather.apply(rows, exchange), exchange.offset)


def global_mean(local_sum: Tensor, global_count: Union[int, Tensor]) -> Tensor:
    """Mean over the rows of all ranks, seen identically by every rank.

    Its value is the global mean. Its gradient is ``world_size`` times that of
    this rank's share, because DistributedDataParallel divides the sum of the
    ranks' gradients by ``world_size``: what arrives is the gradient of the
    single-process loss.

    Args:
        local_sum (Tensor): Sum over this rank's rows, scalar.
        global_count (int | Tensor): Number of rows on all ranks, or the sum
            of their weights, scalar. With 0 the result is 0 and keeps the
            graph whole.
    """
    if isinstance(global_count, Tensor):
        one = torch.ones_like(global_count)
        count = torch.where(global_count > 0, global_count, one)
    else:
        count = max(global_count, 1)
    ranks = get_world_size()
    if ranks == 1:
        return local_sum / count
    total = local_sum.detach().clone()
    dist.all_reduce(total)
    share = local_sum * ranks / count
    return share + (total / count - share).detach()
