"""Retrieval of regions by phrase: average precision and recall."""

from typing import Dict, Sequence

import numpy as np


def region_retrieval(
    query_embeddings: np.ndarray,
    query_keys: np.ndarray,
    region_embeddings: np.ndarray,
    pairs: np.ndarray,
    topk: Sequence[int] = (1, 5, 10),
    chunk_size: int = 64,
) -> Dict[str, np.ndarray]:
    """Rank all regions for each query that has any.

    The average precision of a query is the mean, over its regions, of the
    share of right ones down to their place. Similarities are dot products in
    float64, rounded to float32; of equal ones the wrong region comes first,
    so that a tie is never a hit by luck.

    Memory: about ``20 * chunk_size * R`` bytes beside float64 copies of the
    embeddings.

    Args:
        query_embeddings (np.ndarray): (Q, D), L2-normalised.
        query_keys (np.ndarray): (Q,), distinct integers.
        region_embeddings (np.ndarray): (R, D), L2-normalised.
        pairs (np.ndarray): (P, 2), a region, in [0, R), and the key of a
            query that it fits; a region may fit several.
        topk (Sequence[int]): The k to report. Defaults to (1, 5, 10).
        chunk_size (int): Queries compared at a time. Defaults to 64.

    Returns:
        dict[str, np.ndarray]: For each of these queries, under ``mAP`` its
        average precision, under ``r{k}`` whether a right region is among the
        best k; the figures are their means.

    Raises:
        ValueError: If no query has a region, or a similarity is not finite.

    Examples:
        Regions 0 and 2 fit query 0, region 1 fits query 1. Query 0 ranks
        them 0, 1, 2: precisions 1/1 and 2/3; query 1 ranks them 2, 1, 0:
        precision 1/2.

        >>> found = region_retrieval(
        ...     np.array([[1.0, 0.0], [0.0, 1.0]]), np.array([0, 1]),
        ...     np.array([[1.0, 0.0], [0.8, 0.6], [0.6, 0.8]]),
        ...     np.array([[0, 0], [1, 1], [2, 0]]), topk=(1, 2))
        >>> {key: each.round(2).tolist() for key, each in found.items()}
        {'mAP': [0.83, 0.5], 'r1': [True, False], 'r2': [True, True]}
    """
    owners, region_keys = np.asarray(pairs).T
    asked = np.isin(query_keys, region_keys)
    if not asked.any():
        raise ValueError('no phrase has a region')
    keys = np.asarray(query_keys)[asked]
    queries = np.asarray(query_embeddings, dtype=np.float64)[asked]
    regions = np.asarray(region_embeddings, dtype=np.float64)
    precisions, best = [], []
    for start in range(0, len(keys), chunk_size):
        rows = slice(start, start + chunk_size)
        similarity = (queries[rows] @ regions.T).astype(np.float32)
        if not np.isfinite(similarity).all():
            raise ValueError(
                'a similarity is not finite; look for NaN in the weights of '
                'the model'
            )
        for key, scores in zip(keys[rows], similarity):
            right = np.zeros(len(regions), dtype=bool)
            right[owners[region_keys == key]] = True
            own, others = np.sort(scores[right])[::-1], np.sort(scores[~right])
            # how many wrong ones are before each right one
            before = len(others) - np.searchsorted(others, own, side='left')
            place = np.arange(1, len(own) + 1)
            precisions.append((place / (place + before)).mean())
            best.append(before[0] + 1)
    reached = {f'r{k}': np.array(best) <= k for k in topk}
    return {'mAP': np.array(precisions), **reached}
