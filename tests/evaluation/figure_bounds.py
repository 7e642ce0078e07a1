"""Between which values rounding of the embeddings may move a figure."""

from typing import Dict, Sequence, Tuple

import numpy as np

# Share of a probability, and difference of cosines, that the batch an image
# is in may change.
SCORE, COSINE = 1e-4, 1e-6


def box_bounds(
    labels: np.ndarray,
    topk: np.ndarray,
    scores: np.ndarray,
    groups: Dict[str, Sequence[int]],
) -> Dict[str, Tuple[float, float]]:
    """Lowest and highest figure of each key of BoxClassificationMetric.

    Args:
        labels (np.ndarray): True classes (N,).
        topk (np.ndarray): The 6 best classes (N, 6), best first.
        scores (np.ndarray): Their probabilities.
        groups (dict[str, Sequence[int]]): Classes of each group.
    """
    own = np.where(topk == labels[:, None], scores, -1).max(1)
    seen = own >= 0
    best = 1 + (scores > own[:, None] * (1 + SCORE)).sum(1)
    worst = (scores >= own[:, None] * (1 - SCORE)).sum(1)
    # what is not listed comes after the sixth, but for rounding
    tied = scores[:, 5] > scores[:, 4] * (1 - SCORE)
    best = np.where(seen, best, np.where(tied, 5, 7))
    worst = np.where(seen, worst, 7)
    bounds = {}
    subsets = {'': np.unique(labels)}
    subsets.update({f'{name}_': ids for name, ids in groups.items()})
    for prefix, classes in subsets.items():
        rows = [labels == each for each in classes if (labels == each).any()]
        for k in (1, 5):
            low, high = worst <= k, best <= k
            bounds[f'{prefix}top{k}'] = tuple(
                100 * hits[np.any(rows, axis=0)].mean() for hits in (low, high)
            )
            bounds[f'{prefix}macro_top{k}'] = tuple(
                100 * np.mean([hits[row].mean() for row in rows])
                for hits in (low, high)
            )
    return bounds


def retrieval_bounds(
    images: np.ndarray, texts: np.ndarray, owner: np.ndarray
) -> Dict[str, Tuple[float, float]]:
    """Lowest and highest figure of each key of ImageTextRetrievalMetric.

    Args:
        images (np.ndarray): Embeddings (N, D).
        texts (np.ndarray): Those of M captions, each image has some.
        owner (np.ndarray): Image of each caption, (M,).
    """
    similarity = images.astype(np.float64) @ texts.astype(np.float64).T
    mine = owner[None] == np.arange(len(images))[:, None]
    own, rivals = (
        np.where(chosen, similarity, -9) for chosen in (mine, ~mine)
    )
    bounds = {}
    for name, axis in (('i2t', 1), ('t2i', 0)):
        answer = own.max(axis, keepdims=True)
        worst, best = (
            1 + (rivals >= answer + slack).sum(axis)
            for slack in (-COSINE, COSINE)
        )
        for k in (1, 5, 10):
            bounds[f'{name}_r{k}'] = tuple(
                100 * np.mean(ranks <= k) for ranks in (worst, best)
            )
    return bounds
