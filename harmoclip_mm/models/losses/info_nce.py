"""InfoNCE with several positives, over the rows of all ranks.

With similarities ``s_ij = scale * <q_i, k_j>`` and positives
``P_i = {j : group(j) = group(i)}`` the target of query i is uniform over
``P_i``. Its cross entropy is ``log sum_j exp(s_ij) - mean_{j in P_i} s_ij``,
whose gradient by ``s_ij`` is ``softmax_ij - [j in P_i] / |P_i|``. With groups
of one key each it is the InfoNCE of CLIP.

A pair of weight w counts as w equal pairs of its group would: as a query, as a
key and in the number of pairs. The loss of query i is then
``w_i (log sum_j w_j exp(s_ij) - sum_j t_ij s_ij)`` with the targets
``t_ij = w_j / sum_{k in P_i} w_k`` for j in ``P_i``.

Neither needs all similarities at once: the logarithm is accumulated tile by
tile (as in arXiv 1805.02867), and the backward computes the tiles anew. Nor do
they need the keys of all ranks at once: more than ``GATHER_SIZE`` are gathered
in pieces, used and dropped, and the backward gathers them again.

With n rows of width D on this rank and N on all, a rank holds
``max(n, chunk_size) x chunk_size`` similarities and a few matrices of that
size, its own rows, and ``GATHER_SIZE x D`` numbers of keys, gradients and
buffers each. Both sides together, it receives ``2 N D`` numbers in the forward
and sends as many gradients in the backward.
Gathering again costs another ``2 N D`` there, only where ``N > GATHER_SIZE``.
"""

from itertools import repeat
from typing import Any, Iterator, Optional, Tuple

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.autograd.function import once_differentiable

from ..utils import RowExchange, global_mean
from .row_record import record_rows

# Most keys of all ranks held at once: 64 MiB of 512 float32 each. Small enough
# to be no burden, large enough that collectives are few.
GATHER_SIZE = 32768


class _InfoNCE(torch.autograd.Function):
    """InfoNCE of each of this rank's queries over all ranks' keys, (n, 1)."""

    @staticmethod
    def forward(
        ctx: Any,
        queries: Tensor,
        keys: Tensor,
        scale: Tensor,
        query_groups: Tensor,
        key_groups: Tensor,
        target: Tensor,
        exchange: RowExchange,
        chunk_size: int,
        key_weights: Optional[Tensor],
    ) -> Tensor:
        ctx.key_weights, ctx.exchange = key_weights, exchange
        ctx.kept_keys, ctx.kept_grad = None, None
        if len(exchange.spans(GATHER_SIZE)) == 1:
            ctx.kept_keys = exchange.gather(keys)
        ctx.width = max(chunk_size, chunk_size**2 // max(len(queries), 1))
        scaled = queries * scale
        log_sum = scaled.new_full((len(queries), 1), -torch.inf)
        positive_sum = torch.zeros_like(log_sum)
        for part, groups, weights, _ in tiles(
            exchange, ctx.width, keys, key_groups, key_weights, ctx.kept_keys
        ):
            logits = scaled @ part.t()
            positive = query_groups[:, None] == groups
            if weights is not None:
                positive = positive * weights
                positive_sum += (positive * logits).sum(1, keepdim=True)
                logits += _log(weights)
            else:
                positive_sum += torch.where(positive, logits, 0).sum(
                    dim=1, keepdim=True
                )
            log_sum = torch.logaddexp(
                log_sum, logits.logsumexp(dim=1, keepdim=True)
            )
        if ctx.kept_keys is not None and len(ctx.kept_keys) <= ctx.width:
            # One tile is all there is: better kept than made twice.
            ctx.kept_grad = _grad_of_logits(logits, log_sum, positive, target)
        ctx.save_for_backward(
            queries, keys, scale, query_groups, key_groups, log_sum, target
        )
        rows = log_sum - positive_sum * target
        record_rows(rows[:, 0])
        return rows

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> Tuple[Optional[Tensor], ...]:
        saved = ctx.saved_tensors
        queries, keys, scale, query_groups, key_groups = saved[:5]
        log_sum, target = saved[5:]
        scaled = queries * scale
        weighted = scaled * grad
        grad_scaled = torch.zeros_like(queries)
        grad_keys = torch.empty_like(keys)
        with torch.autocast(queries.device.type, enabled=False):
            for part, groups, weights, part_grad in tiles(
                ctx.exchange,
                ctx.width,
                keys,
                key_groups,
                ctx.key_weights,
                ctx.kept_keys,
                grad_keys,
            ):
                logits_grad = ctx.kept_grad
                if logits_grad is None:
                    logits = scaled @ part.t()
                    positive = query_groups[:, None] == groups
                    if weights is not None:
                        positive = positive * weights
                        logits += _log(weights)
                    logits_grad = _grad_of_logits(
                        logits, log_sum, positive, target
                    )
                grad_scaled.addmm_(logits_grad, part)
                torch.mm(logits_grad.t(), weighted, out=part_grad)
        grad_scaled *= grad
        grad_scale = (grad_scaled * queries).sum()
        return grad_scaled * scale, grad_keys, grad_scale, *[None] * 6


def _log(weights: Tensor) -> Tensor:
    """Logarithm, finite at 0: a key of no weight adds nothing to a sum."""
    return weights.clamp(min=torch.finfo(weights.dtype).tiny).log()


def _target(
    query_groups: Tensor,
    key_groups: Tensor,
    queries: Tensor,
    key_weights: Optional[Tensor] = None,
) -> Tensor:
    """Probability of each positive, or of each unit of its weight: one over
    their number, or the sum of their weights, on all ranks.

    Shape (n, 1), of the type of the queries; 0 where all weights are.
    """
    ordered, order = key_groups.sort()
    end = torch.searchsorted(ordered, query_groups, right=True)
    start = torch.searchsorted(ordered, query_groups)
    if key_weights is None:
        return (end - start).to(queries.dtype).reciprocal()[:, None]
    total = F.pad(key_weights[order].double().cumsum(0), (1, 0))
    share = (total[end] - total[start]).to(queries.dtype)
    return torch.where(share > 0, 1 / share, 0)[:, None]


def tiles(
    exchange: RowExchange,
    width: int,
    rows: Tensor,
    groups: Tensor,
    weights: Optional[Tensor],
    kept: Optional[Tensor] = None,
    grad: Optional[Tensor] = None,
) -> Iterator[Tuple[Tensor, Tensor, Optional[Tensor], Optional[Tensor]]]:
    """Walks through the rows (n, D) of all ranks, gathered in pieces unless
    ``kept`` has them all.

    Yields rows of a tile, their groups and weights, and where the gradient of
    each row is to be written; None for what is none. ``grad`` (n, D) gets
    what all ranks have written for this rank's rows.
    """
    for span in exchange.spans(GATHER_SIZE):
        columns = exchange.gather(rows, span) if kept is None else kept
        # Filled in place: small tensors kept between large ones that come
        # and go would scatter the heap and double the peak.
        asked = None if grad is None else torch.empty_like(columns)
        selected = (exchange.select(each, span) for each in (groups, weights))
        yield from zip(
            *(
                repeat(None) if each is None else each.split(width)
                for each in (columns, *selected, asked)
            )
        )
        if grad is not None:
            grad[span] = exchange.reduce(asked, span)


def _grad_of_logits(
    logits: Tensor, log_sum: Tensor, positive: Tensor, target: Tensor
) -> Tensor:
    """Softmax minus target, in the memory of the logits."""
    softmax = logits.sub_(log_sum).exp_()
    return softmax.sub_(positive * target)


def symmetric_info_nce(
    left: Tensor,
    right: Tensor,
    groups: Tensor,
    scale: Tensor,
    chunk_size: int = 1024,
    weights: Optional[Tensor] = None,
) -> Tensor:
    """Symmetric InfoNCE of pairs over the global batch.

    The mean over all pairs of all ranks of half the cross entropy from left
    to right and half that from right to left. Each rank computes its own
    rows against everybody's columns.

    Args:
        left (Tensor): L2-normalised embeddings of this rank, shape (n, D).
        right (Tensor): Their partners, shape (n, D).
        groups (Tensor): Group of each pair, shape (n,), int64, comparable
            across ranks; pairs of one group are positives of each other.
        scale (Tensor): Factor of the cosines, scalar.
        chunk_size (int): Most keys that ``chunk_size`` or more queries are
            compared with at once; fewer queries meet more keys. Defaults to
            1024.
        weights (Tensor, optional): How much each pair counts, shape (n,), at
            least 0, as the top of this file says; on all ranks or on none.
            The mean is then the sum over the weights of all ranks. Defaults
            to 1 each.

    Returns:
        Tensor: The loss, scalar, equal on all ranks (see ``global_mean``).

    Examples:
        >>> eye = torch.eye(2)
        >>> # log(e^1 + e^0) - 1 for each of the two, in both directions
        >>> symmetric_info_nce(eye, eye, torch.arange(2), torch.tensor(1.0))
        tensor(0.3133)
    """
    # Softmax over thousands of columns wants float32, whatever autocast says.
    with torch.autocast(device_type=left.device.type, enabled=False):
        if left.dtype != torch.float64:
            left, right, scale = left.float(), right.float(), scale.float()
        exchange = RowExchange(groups)
        key_groups = exchange.gather(groups)
        count, key_weights = exchange.total, None
        if weights is not None:
            weights = weights.to(left.dtype)
            key_weights = exchange.gather(weights)
            count = key_weights.sum()
        target = _target(groups, key_groups, left, key_weights)
        shared = groups, key_groups, target, exchange, chunk_size, key_weights
        local = 0
        for queries, keys in ((left, right), (right, left)):
            losses = _InfoNCE.apply(queries, keys, scale, *shared)
            if weights is not None:
                losses = losses * weights[:, None]
            local = local + losses.sum()
        return global_mean(local / 2, count)


def pair_groups(rows: Tensor) -> Tensor:
    """Groups of one pair each, unique over all ranks.

    Args:
        rows (Tensor): Rows of this rank, shape (n, ...).

    Returns:
        Tensor: Groups, shape (n,), int64.
    """
    local = torch.arange(len(rows), device=rows.device)
    return local + RowExchange(rows).offset
