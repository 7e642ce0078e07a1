"""Retrieval of images, texts and regions by each other."""

from typing import Dict, Iterator, Sequence, Tuple

import numpy as np

from .ranking import answer_ranks


def _similarities(
    queries: np.ndarray, gallery: np.ndarray, chunk_size: int
) -> Iterator[Tuple[slice, np.ndarray]]:
    """Dot products of a few queries at a time with all of a gallery.

    Accumulated in float64 and rounded to float32: equal embeddings then tie
    whatever the chunk and the BLAS kernel. About ``20 * chunk_size * gallery``
    bytes are taken beside the float64 embeddings.
    """
    for start in range(0, len(queries), chunk_size):
        rows = slice(start, start + chunk_size)
        yield rows, (queries[rows] @ gallery.T).astype(np.float32)


def retrieval_ranks(
    image_embeddings: np.ndarray,
    text_embeddings: np.ndarray,
    text_to_image: np.ndarray,
    chunk_size: int = 256,
) -> Dict[str, Tuple[np.ndarray, np.ndarray]]:
    """Rank of the right answer of every query, in both directions.

    The similarity is the dot product, so embeddings come L2-normalised. A tie
    counts against the model, see :func:`answer_ranks`. An image may have any
    number of texts, of which the best counts; without any it is no query, and
    stays in the gallery of the texts. Time grows with ``N * M * D``.

    Args:
        image_embeddings (np.ndarray): (N, D), L2-normalised.
        text_embeddings (np.ndarray): (M, D), L2-normalised.
        text_to_image (np.ndarray): (M,), row of the image each text
            describes, in [0, N).
        chunk_size (int): Queries compared at a time. Defaults to 256.

    Returns:
        dict[str, tuple[np.ndarray, np.ndarray]]: Under ``i2t``, of the images
        with at least one text, and under ``t2i``, of the texts, the image of
        each query, and its rank, 1 is best. The recall at k is the share of
        ranks up to k.

    Raises:
        ValueError: If there is no text, an index is out of range or a
            similarity is not finite.

    Examples:
        Two images of two texts each; D = 2. Rows of the similarity matrix
        are images, columns are texts 0, 1 (of image 0) and 2, 3 (image 1)::

            [[1.0, 0.0, 0.6, 0.8],
             [0.0, 1.0, 0.8, 0.6]]

        Image 0: its best text has 1.0 and no other text reaches that: rank
        1. Image 1: its best text has 0.8, text 1 of image 0 has 1.0: rank 2.
        Texts 0 and 2 are most similar to their own images: rank 1. Texts 1
        and 3 are more similar to the other image: rank 2.

        >>> images = np.array([[1.0, 0.0], [0.0, 1.0]])
        >>> texts = np.array([[1.0, 0.0], [0.0, 1.0], [0.6, 0.8], [0.8, 0.6]])
        >>> found = retrieval_ranks(images, texts, np.array([0, 0, 1, 1]))
        >>> {name: ranks.tolist() for name, (_, ranks) in found.items()}
        {'i2t': [1, 2], 't2i': [1, 2, 1, 2]}
    """
    images = np.asarray(image_embeddings, dtype=np.float64)
    texts = np.asarray(text_embeddings, dtype=np.float64)
    owners = np.asarray(text_to_image)
    queries = np.unique(owners)
    if owners.shape != (len(texts),) or not owners.size:
        raise ValueError(f'{len(texts)} texts have {owners.shape} images')
    if queries[0] < 0 or queries[-1] >= len(images):
        raise ValueError(
            f'text_to_image holds rows {queries[0]} to {queries[-1]}, but '
            f'there are {len(images)} images'
        )
    found = {}
    for name, left, right, asked, answers in (
        ('i2t', images[queries], texts, queries, owners),
        ('t2i', texts, images, owners, np.arange(len(images))),
    ):
        ranks = []
        for rows, similarity in _similarities(left, right, chunk_size):
            own = asked[rows, None] == answers
            ranks.append(answer_ranks(similarity, own))
        found[name] = asked, np.concatenate(ranks)
    return found


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
    share of right ones down to their place. Of equal similarities the wrong
    region comes first, so that a tie is never a hit by luck.

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
        precision 1/2. The means:

        >>> found = region_retrieval(
        ...     np.array([[1.0, 0.0], [0.0, 1.0]]), np.array([0, 1]),
        ...     np.array([[1.0, 0.0], [0.8, 0.6], [0.6, 0.8]]),
        ...     np.array([[0, 0], [1, 1], [2, 0]]), topk=(1, 2))
        >>> {key: float(each.mean().round(3)) for key, each in found.items()}
        {'mAP': 0.667, 'r1': 0.5, 'r2': 1.0}
    """
    owners, region_keys = np.asarray(pairs).T
    asked = np.isin(query_keys, region_keys)
    if not asked.any():
        raise ValueError('no phrase has a region')
    keys = np.asarray(query_keys)[asked]
    queries = np.asarray(query_embeddings, dtype=np.float64)[asked]
    regions = np.asarray(region_embeddings, dtype=np.float64)
    precisions, best = [], []
    for rows, similarity in _similarities(queries, regions, chunk_size):
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
