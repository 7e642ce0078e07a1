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
) -> Dict[str, float]:
    """Rank all regions for each query that has any, in percent.

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
        dict[str, float]: ``mAP``, the mean over queries, and ``r{k}``, the
        share of queries with a right region among the best k.

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
        >>> {key: round(value, 2) for key, value in found.items()}
        {'mAP': 66.67, 'r1': 50.0, 'r2': 100.0}
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
    figures = {'mAP': 100 * float(np.mean(precisions))}
    for k in topk:
        figures[f'r{k}'] = 100 * float((np.array(best) <= k).mean())
    return figures
