"""Top-k accuracy of classifying given boxes, micro and macro, by group."""

from typing import Dict, Mapping, Optional, Sequence, Tuple

import numpy as np


def count_hits(
    kinds: np.ndarray, hits: np.ndarray, num_kinds: int
) -> Tuple[np.ndarray, np.ndarray]:
    """Count hits and boxes of each kind, be it a class or a range of sizes.

    Integers add up to the same sums in any order, so batch size, workers and
    world size cannot change a figure.

    Args:
        kinds (np.ndarray): Kind of each box, (N,) in [0, num_kinds).
        hits (np.ndarray): Whether each box got its class, (N,) bool.
        num_kinds (int): Number of kinds.

    Returns:
        tuple[np.ndarray, np.ndarray]: Hits and boxes, (num_kinds,) int64.

    Examples:
        >>> hits = np.array([True, False, True])
        >>> hits, boxes = count_hits(np.array([0, 2, 2]), hits, 4)
        >>> hits.tolist(), boxes.tolist()
        ([1, 0, 1, 0], [1, 0, 2, 0])
    """
    boxes = np.bincount(kinds, minlength=num_kinds)
    return np.bincount(kinds[hits], minlength=num_kinds), boxes


def box_classification_accuracy(
    ranks: np.ndarray,
    labels: np.ndarray,
    groups: Optional[Mapping[str, Sequence[int]]] = None,
    topk: Sequence[int] = (1, 5),
) -> Dict[str, float]:
    """Every figure of a box-classification table.

    Micro accuracy counts every box once. Macro counts every class that has at
    least one box once. All in float64, without the rounding of class means to
    float16 found in published code.

    Args:
        ranks (np.ndarray): Rank of the true class of each box among all
            classes, (N,), of :func:`answer_ranks`.
        labels (np.ndarray): True classes, (N,).
        groups (dict[str, Sequence[int]], optional): Class indices of named
            groups, e.g. ``thing`` and ``stuff``. Defaults to None.
        topk (Sequence[int]): The k to report. Defaults to (1, 5).

    Returns:
        dict[str, float]: In percent: ``top{k}`` (micro), ``macro_top{k}``
        and, for every group with a box, ``{group}_top{k}`` and
        ``{group}_macro_top{k}``: the accuracy on boxes whose true class is
        in the group, scored against all classes. A group without a box has
        no accuracy and therefore no key.

    Raises:
        ValueError: If there is no box at all.

    Examples:
        Two boxes of class 0 (one right), one of class 1 (right), one of
        class 2 (wrong): micro 2/4, macro (1/2 + 1 + 0) / 3, group "a" of
        classes 0 and 1: micro 2/3, macro (1/2 + 1) / 2.

        >>> acc = box_classification_accuracy(
        ...     np.array([1, 2, 1, 3]), np.array([0, 0, 1, 2]),
        ...     groups=dict(a=[0, 1]), topk=(1,))
        >>> {key: round(value, 2) for key, value in acc.items()}
        {'top1': 50.0, 'macro_top1': 50.0, 'a_top1': 66.67, 'a_macro_top1': 75.0}
    """  # noqa: E501
    if not len(labels):
        raise ValueError('there is no ground-truth box to take a mean over')
    chosen = {'': np.ones(len(labels), dtype=bool)}
    for name, classes in (groups or {}).items():
        chosen[f'{name}_'] = np.isin(labels, list(classes))
    accuracy = {}
    for prefix, rows in chosen.items():
        if not rows.any():
            continue
        classes, kinds = np.unique(labels[rows], return_inverse=True)
        for k in topk:
            hits = ranks[rows] <= k
            accuracy[f'{prefix}top{k}'] = 100 * float(hits.mean())
        for k in topk:
            hits, boxes = count_hits(kinds, ranks[rows] <= k, len(classes))
            macro = 100 * float((hits / boxes).mean())
            accuracy[f'{prefix}macro_top{k}'] = macro
    return accuracy
