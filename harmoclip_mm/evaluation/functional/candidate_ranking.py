"""Rank of the right text among the candidates of a box."""

import numpy as np


def candidate_ranks(logits: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """Rank of each row's right candidate, 1 is best.

    Among equal scores the right one comes last: a tie is never a hit by
    luck. (FG-CLIP's evaluation counts a tie with the best as a hit.)

    Args:
        logits (np.ndarray): Scores of shape (N, T); -inf where a text is not
            a candidate.
        labels (np.ndarray): The right candidate of each row, shape (N,),
            values in [0, T).

    Returns:
        np.ndarray: Ranks, shape (N,), int64.

    Raises:
        ValueError: If shapes disagree, a label is out of range, the right
            candidate's score is not finite or a score is NaN.

    Examples:
        Row 0: 0.9 is the best of all. Row 1: the right 0.4 ties with another
        0.4 and is below 0.7: rank 3. Row 2: only two candidates.

        >>> logits = np.array(
        ...     [[0.9, 0.1, 0.3], [0.4, 0.7, 0.4], [0.2, -np.inf, 0.5]])
        >>> candidate_ranks(logits, np.array([0, 2, 0])).tolist()
        [1, 3, 2]
    """
    logits = np.asarray(logits)
    labels = np.asarray(labels)
    if logits.ndim != 2 or labels.shape != logits.shape[:1]:
        raise ValueError(
            'logits must be (N, T) and labels (N,), got '
            f'{logits.shape} and {labels.shape}'
        )
    if labels.size and not 0 <= labels.min() <= labels.max() < len(logits[0]):
        raise ValueError(
            f'labels hold candidates {labels.min()} to {labels.max()}, but '
            f'there are {logits.shape[1]}'
        )
    own = np.take_along_axis(logits, labels[:, None].astype(np.int64), axis=1)
    if not np.isfinite(own).all() or np.isnan(logits).any():
        raise ValueError(
            "a score is NaN, or a right candidate's score is not finite"
        )
    return (logits >= own).sum(axis=1)  # its own score is one of them
