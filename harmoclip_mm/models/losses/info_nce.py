"""InfoNCE with several positives, over the rows of all ranks."""

import torch
from torch import Tensor

from ..layers import run_block
from ..utils import gather_rows, global_mean


def multi_positive_info_nce(
    queries: Tensor,
    keys: Tensor,
    query_groups: Tensor,
    key_groups: Tensor,
    scale: Tensor,
    chunk_size: int = 1024,
) -> Tensor:
    """Sums the InfoNCE of queries whose positives are all keys of a group.

    With similarities ``s_ij = scale * <q_i, k_j>`` and positives
    ``P_i = {j : group(j) = group(i)}`` the target of query i is uniform over
    ``P_i``, so its cross entropy is
    ``log sum_j exp(s_ij) - mean_{j in P_i} s_ij``. With groups of one key
    each it is the InfoNCE of CLIP.

    Rows are worked off in chunks that the backward recomputes, so that never
    more than ``chunk_size x N`` similarities exist.

    Args:
        queries (Tensor): L2-normalised queries, shape (n, D).
        keys (Tensor): L2-normalised keys, shape (N, D).
        query_groups (Tensor): Group of each query, shape (n,), integer;
            every query's group must occur among the keys.
        key_groups (Tensor): Group of each key, shape (N,).
        scale (Tensor): Factor of the cosines, positive scalar.
        chunk_size (int): Most queries at once. Defaults to 1024.

    Returns:
        Tensor: Sum over the queries, scalar; 0 without queries.

    Examples:
        >>> eye = torch.eye(2)
        >>> ids = torch.arange(2)
        >>> # log(e^1 + e^0) - 1 = 0.3133 for each of the two queries
        >>> multi_positive_info_nce(eye, eye, ids, ids, torch.tensor(1.0))
        tensor(0.6265)
    """
    if len(keys) == 0:
        # No rank has a row; the product keeps the graph whole.
        return (queries.sum() + keys.sum()) * scale * 0.0
    chunked = len(queries) > chunk_size
    total = queries.new_zeros(())
    for part, groups in zip(
        queries.split(chunk_size), query_groups.split(chunk_size)
    ):
        total = total + run_block(
            _chunk_loss, part, keys, groups, key_groups, scale, with_cp=chunked
        )
    return total


def _chunk_loss(
    queries: Tensor,
    keys: Tensor,
    query_groups: Tensor,
    key_groups: Tensor,
    scale: Tensor,
) -> Tensor:
    logits = scale * queries @ keys.t()
    positive = query_groups[:, None] == key_groups[None, :]
    mean_positive = logits.masked_fill(~positive, 0.0).sum(1) / positive.sum(1)
    return (logits.logsumexp(dim=1) - mean_positive).sum()


def symmetric_info_nce(
    left: Tensor,
    right: Tensor,
    groups: Tensor,
    scale: Tensor,
    chunk_size: int = 1024,
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
        chunk_size (int): Most rows at once. Defaults to 1024.

    Returns:
        Tensor: The loss, scalar, equal on all ranks (see ``global_mean``).
    """
    # Softmax over thousands of columns wants float32, whatever autocast says.
    with torch.autocast(device_type=left.device.type, enabled=False):
        if left.dtype != torch.float64:
            left, right, scale = left.float(), right.float(), scale.float()
        all_left, _ = gather_rows(left)
        all_right, _ = gather_rows(right)
        all_groups, _ = gather_rows(groups)
        local = multi_positive_info_nce(
            left, all_right, groups, all_groups, scale, chunk_size
        ) + multi_positive_info_nce(
            right, all_left, groups, all_groups, scale, chunk_size
        )
        return global_mean(local / 2, len(all_groups))


def pair_groups(rows: Tensor) -> Tensor:
    """Groups of one pair each, unique over all ranks.

    Args:
        rows (Tensor): Rows of this rank, shape (n, ...).

    Returns:
        Tensor: Groups, shape (n,), int64.
    """
    local = torch.arange(len(rows), device=rows.device)
    return local + gather_rows(local).offset
