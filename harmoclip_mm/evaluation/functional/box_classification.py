"""Top-k accuracy of classifying given boxes, micro and macro, by group.

Everything follows from two integer tables, the hits and the number of boxes
of each ground-truth class. Integers add up to the same sums in any order, so
batch size, workers and world size cannot change a figure.

Ties are resolved against the model, as in retrieval: of classes with equal
scores the true one comes last, so a model that scores all classes alike hits
nothing.
"""

from typing import Dict, Optional, Sequence, Tuple

import numpy as np


def count_hits(
    topk_labels: np.ndarray,
    gt_labels: np.ndarray,
    num_classes: int,
    topk: Sequence[int] = (1, 5),
    topk_scores: Optional[np.ndarray] = None,
) -> Tuple[np.ndarray, np.ndarray]:
    """Count hits and boxes of each ground-truth class.

    Args:
        topk_labels (np.ndarray): Predicted classes, best first, of shape
            (N, K) and values in [0, num_classes).
        gt_labels (np.ndarray): True classes of shape (N,), values in
            [0, num_classes).
        num_classes (int): Number of classes that were scored.
        topk (Sequence[int]): The k to count for, each in [1, K]; a k above
            ``num_classes`` counts as ``num_classes``. Defaults to (1, 5).
        topk_scores (np.ndarray, optional): Scores of ``topk_labels``, (N, K).
            The rank of the true class is then the worst of those with its
            score. Only K > max(topk), or K = ``num_classes``, shows a tie
            between the last place that counts and the next. Defaults to
            None: the order of ``topk_labels`` is the rank.

    Returns:
        tuple[np.ndarray, np.ndarray]: ``hits`` (num_classes, len(topk))
        int64, the boxes of class c whose true class is among the best k, and
        ``counts`` (num_classes,) int64, the boxes of class c.

    Raises:
        ValueError: If shapes disagree, a label is out of range, a score is
            not a number, or fewer classes were predicted than ``topk`` asks
            for.

    Examples:
        Three boxes; the second has its class (1) only in second place.

        >>> topk_labels = np.array([[0, 1], [2, 1], [2, 0]])
        >>> gt_labels = np.array([0, 1, 2])
        >>> hits, counts = count_hits(topk_labels, gt_labels, 3, topk=(1, 2))
        >>> hits.tolist(), counts.tolist()
        ([[1, 1], [0, 1], [1, 1]], [1, 1, 1])

        The first box gave classes 0 and 1 the same score: no Top-1 hit.

        >>> topk_scores = np.array([[0.4, 0.4], [0.7, 0.2], [0.6, 0.3]])
        >>> count_hits(topk_labels, gt_labels, 3, (1, 2), topk_scores)[
        ...     0].tolist()
        [[0, 1], [0, 1], [1, 1]]
    """
    topk_labels = np.asarray(topk_labels)
    gt_labels = np.asarray(gt_labels)
    if topk_labels.ndim != 2 or gt_labels.shape != topk_labels.shape[:1]:
        raise ValueError(
            'topk_labels must be (N, K) and gt_labels (N,), got '
            f'{topk_labels.shape} and {gt_labels.shape}'
        )
    kept = [min(k, num_classes) for k in topk]
    if not kept or min(kept) < 1:
        raise ValueError(f'topk must hold integers of at least 1, got {topk}')
    if max(kept) > topk_labels.shape[1]:
        raise ValueError(
            f'top-{max(kept)} accuracy needs {max(kept)} predicted classes a '
            f'box, got {topk_labels.shape[1]}'
        )
    for name, labels in (
        ('gt_labels', gt_labels),
        ('topk_labels', topk_labels),
    ):
        if labels.size and not 0 <= labels.min() <= labels.max() < num_classes:
            raise ValueError(
                f'{name} hold classes {labels.min()} to {labels.max()}, but '
                f'there are {num_classes} classes'
            )

    ranks = _ranks(topk_labels == gt_labels[:, None], topk_scores)
    counts = np.bincount(gt_labels, minlength=num_classes)
    hits = [
        np.bincount(gt_labels[ranks <= k], minlength=num_classes) for k in kept
    ]
    return np.stack(hits, axis=1), counts


def _ranks(correct: np.ndarray, scores: Optional[np.ndarray]) -> np.ndarray:
    """Rank of the true class, 1 is best, K + 1 if not among the K."""
    num_boxes, width = correct.shape
    place = correct.argmax(axis=1)
    ranks = place + 1
    if scores is not None:
        scores = np.asarray(scores)
        if scores.shape != correct.shape:
            raise ValueError(
                f'topk_scores must be of the shape of topk_labels, '
                f'{correct.shape}, got {scores.shape}'
            )
        if np.isnan(scores).any():
            raise ValueError('topk_scores hold NaN')
        own = scores[np.arange(num_boxes), place]
        ranks = (scores >= own[:, None]).sum(axis=1)
    return np.where(correct.any(axis=1), ranks, width + 1)


def mean_accuracy(
    hits: np.ndarray,
    counts: np.ndarray,
    classes: Optional[Sequence[int]] = None,
) -> Tuple[np.ndarray, np.ndarray]:
    """Micro and macro accuracy in percent.

    Micro counts every box once. Macro counts every class that has at least
    one box once; classes without a box do not take part. All in float64,
    without the rounding of class means to float16 found in published code.

    Args:
        hits (np.ndarray): Hits of each class, (C, T), of :func:`count_hits`.
        counts (np.ndarray): Boxes of each class, (C,).
        classes (Sequence[int], optional): Only boxes whose true class is
            one of these are counted; they were still scored against all C
            classes. Defaults to None: all.

    Returns:
        tuple[np.ndarray, np.ndarray]: Micro and macro accuracy in percent,
        each of shape (T,).

    Raises:
        ValueError: If no box is left to count.

    Examples:
        Class 0: 3 of 4 boxes right; class 1: 0 of 1; class 2 has no box.
        Micro 3 / 5, macro (3/4 + 0/1) / 2.

        >>> hits, counts = np.array([[3], [0], [0]]), np.array([4, 1, 0])
        >>> micro, macro = mean_accuracy(hits, counts)
        >>> micro.tolist(), macro.tolist()
        ([60.0], [37.5])
    """
    if classes is not None:
        index = np.asarray(sorted(set(classes)), dtype=np.int64)
        hits, counts = hits[index], counts[index]
    present = counts > 0
    if not present.any():
        raise ValueError('there is no ground-truth box to take a mean over')
    hits = hits[present].astype(np.float64)
    counts = counts[present].astype(np.float64)
    micro = hits.sum(axis=0) / counts.sum()
    macro = (hits / counts[:, None]).mean(axis=0)
    return 100 * micro, 100 * macro


def box_classification_accuracy(
    topk_labels: np.ndarray,
    gt_labels: np.ndarray,
    num_classes: int,
    groups: Optional[Dict[str, Sequence[int]]] = None,
    topk: Sequence[int] = (1, 5),
    topk_scores: Optional[np.ndarray] = None,
) -> Dict[str, float]:
    """Every figure of a box-classification table.

    Args:
        topk_labels (np.ndarray): Predicted classes, best first, (N, K).
        gt_labels (np.ndarray): True classes, (N,).
        num_classes (int): Number of classes that were scored.
        groups (dict[str, Sequence[int]], optional): Class indices of named
            groups, e.g. ``thing`` and ``stuff``. Defaults to None.
        topk (Sequence[int]): The k to report. Defaults to (1, 5).
        topk_scores (np.ndarray, optional): Scores of ``topk_labels``, which
            show ties, see :func:`count_hits`. Defaults to None.

    Returns:
        dict[str, float]: In percent: ``top{k}`` (micro), ``macro_top{k}``
        and, for every group with a box, ``{group}_top{k}`` and
        ``{group}_macro_top{k}``: the accuracy on boxes whose true class is
        in the group, scored against all classes. A group without a box has
        no accuracy and therefore no key.

    Raises:
        ValueError: As in :func:`count_hits`, or if there is no box at all.

    Examples:
        Two boxes of class 0 (one right), one of class 1 (right), one of
        class 2 (wrong): micro 2/4, macro (1/2 + 1 + 0) / 3, group "a" of
        classes 0 and 1: micro 2/3, macro (1/2 + 1) / 2.

        >>> acc = box_classification_accuracy(
        ...     np.array([[0], [2], [1], [0]]), np.array([0, 0, 1, 2]), 3,
        ...     groups=dict(a=[0, 1]), topk=(1,))
        >>> {key: round(value, 2) for key, value in acc.items()}
        {'top1': 50.0, 'macro_top1': 50.0, 'a_top1': 66.67, 'a_macro_top1': 75.0}
    """  # noqa: E501
    hits, counts = count_hits(
        topk_labels, gt_labels, num_classes, topk, topk_scores
    )
    accuracy = {}
    subsets = {'': range(num_classes)}
    subsets.update({f'{name}_': ids for name, ids in (groups or {}).items()})
    for prefix, classes in subsets.items():
        classes = list(classes)
        # without any box at all, mean_accuracy raises
        if prefix and not counts[classes].any():
            continue
        micro, macro = mean_accuracy(hits, counts, classes)
        for kind, values in (('', micro), ('macro_', macro)):
            for k, value in zip(topk, values):
                accuracy[f'{prefix}{kind}top{k}'] = float(value)
    return accuracy
