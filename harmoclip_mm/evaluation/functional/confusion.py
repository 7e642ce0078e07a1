"""Which classes are taken for which others."""

from typing import NamedTuple, Tuple

import numpy as np


class ConfusedPairs(NamedTuple):
    """P pairs of a true class and another one that was predicted.

    Attributes:
        true (np.ndarray): True classes, (P,) int64.
        predicted (np.ndarray): Predicted classes, (P,) int64.
        counts (np.ndarray): Boxes of ``true`` called ``predicted``, (P,)
            int64, all at least 1.
    """

    true: np.ndarray
    predicted: np.ndarray
    counts: np.ndarray


def confused_pairs(
    predicted: np.ndarray, gt_labels: np.ndarray, num_classes: int
) -> ConfusedPairs:
    """Count the wrong predictions by true and predicted class.

    Memory grows with the number of boxes, not with the square of the number
    of classes.

    Args:
        predicted (np.ndarray): Predicted classes, (N,) in [0, num_classes).
        gt_labels (np.ndarray): True classes, (N,) in [0, num_classes).
        num_classes (int): Number of classes.

    Returns:
        ConfusedPairs: All pairs that occur, the most frequent first; pairs
        of equal count by their true, then their predicted class.

    Raises:
        ValueError: If the shapes differ or a label is out of range.

    Examples:
        Class 1 is taken for class 0 twice, class 0 for class 2 once.

        >>> pairs = confused_pairs([0, 0, 2, 2], [1, 1, 0, 2], 3)
        >>> [column.tolist() for column in pairs]
        [[1, 0], [0, 2], [2, 1]]
    """
    predicted = np.asarray(predicted, dtype=np.int64)
    gt_labels = np.asarray(gt_labels, dtype=np.int64)
    if predicted.ndim != 1 or predicted.shape != gt_labels.shape:
        raise ValueError(
            'predicted and gt_labels must both be (N,), got '
            f'{predicted.shape} and {gt_labels.shape}'
        )
    for name, labels in (('predicted', predicted), ('gt_labels', gt_labels)):
        if labels.size and not 0 <= labels.min() <= labels.max() < num_classes:
            raise ValueError(
                f'{name} hold classes {labels.min()} to {labels.max()}, but '
                f'there are {num_classes} classes'
            )
    wrong = predicted != gt_labels
    codes, counts = np.unique(
        gt_labels[wrong] * num_classes + predicted[wrong], return_counts=True
    )
    # stable: equal counts stay in the order of their codes
    order = np.argsort(-counts, kind='stable')
    true, other = np.divmod(codes[order], num_classes)
    return ConfusedPairs(true, other, counts[order])


def main_confusion(
    pairs: ConfusedPairs, num_classes: int
) -> Tuple[np.ndarray, np.ndarray]:
    """The wrong class that each class is most often taken for.

    Args:
        pairs (ConfusedPairs): Of :func:`confused_pairs`.
        num_classes (int): Number of classes.

    Returns:
        tuple[np.ndarray, np.ndarray]: For each class the wrong class, -1
        where none of its boxes is wrong, and the number of such boxes; both
        (num_classes,) int64. Of equally frequent ones the lowest class.

    Examples:
        >>> pairs = confused_pairs([0, 0, 2, 2], [1, 1, 0, 2], 3)
        >>> [column.tolist() for column in main_confusion(pairs, 3)]
        [[2, 0, -1], [1, 2, 0]]
    """
    other = np.full(num_classes, -1, dtype=np.int64)
    counts = np.zeros(num_classes, dtype=np.int64)
    # the first of each class is its most frequent
    classes, first = np.unique(pairs.true, return_index=True)
    other[classes] = pairs.predicted[first]
    counts[classes] = pairs.counts[first]
    return other, counts
