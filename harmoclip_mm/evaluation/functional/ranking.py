"""Ranks of right answers, on which all figures rest.

Ties are resolved against the model: among equal scores the right answer comes
last, so that a model which scores all answers alike never hits by luck.
"""

import numpy as np


def answer_ranks(scores: np.ndarray, right: np.ndarray) -> np.ndarray:
    """Rank of the best right answer of each row, 1 is best.

    Args:
        scores (np.ndarray): Scores of A answers to N questions, (N, A); -inf
            where an answer is not to choose from. An order without scores is
            fine as ``-np.arange(A)``.
        right (np.ndarray): Which answers are right, (N, A) bool.

    Returns:
        np.ndarray: 1 + the number of wrong answers that score at least as
        high as the best right one, (N,) int64; A + 1 without a right one.

    Raises:
        ValueError: If the shapes disagree, a score is NaN or that of a right
            answer is not finite.

    Examples:
        Row 0: 0.9 is the best of all. Row 1: the right 0.4 ties with another
        0.4 and is below 0.7. Row 2: no answer is right.

        >>> scores = np.array(
        ...     [[0.9, 0.1, 0.3], [0.4, 0.7, 0.4], [0.2, -np.inf, 0.5]])
        >>> answer_ranks(scores, np.array(
        ...     [[1, 0, 0], [0, 0, 1], [0, 0, 0]])).tolist()
        [1, 3, 4]
    """
    right = np.asarray(right, dtype=bool)
    scores = np.broadcast_to(scores, right.shape)
    if np.isnan(scores).any() or not np.isfinite(scores[right]).all():
        raise ValueError(
            "a score is NaN, or a right answer's is not finite; look for NaN "
            'in the weights of the model'
        )
    best = np.where(right, scores, -np.inf).max(
        axis=1, initial=-np.inf, keepdims=True
    )
    return 1 + ((scores >= best) & ~right).sum(axis=1)
