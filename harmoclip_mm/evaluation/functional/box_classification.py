"""Top-k accuracy of classifying given boxes, micro and macro, by group."""

from typing import Dict, Mapping, Optional, Sequence, Tuple

import numpy as np

from .bootstrap import Units


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


def box_classification(
    images: np.ndarray,
    labels: np.ndarray,
    ranks: np.ndarray,
    groups: Optional[Mapping[str, Sequence[int]]] = None,
    topk: Sequence[int] = (1, 5),
) -> Dict[str, Units]:
    """What every figure of a box-classification table is a mean of.

    Micro accuracy counts every box once. Macro counts every class that has at
    least one box once. All in float64, without the rounding of class means to
    float16 found in published code.

    Args:
        images (np.ndarray): Image of each box, (N,).
        labels (np.ndarray): True class of each box, (N,).
        ranks (np.ndarray): Its rank among all classes, (N,), of
            :func:`answer_ranks`.
        groups (dict[str, Sequence[int]], optional): Class indices of named
            groups, e.g. ``thing`` and ``stuff``. Defaults to None.
        topk (Sequence[int]): The k to report. Defaults to (1, 5).

    Returns:
        dict[str, Units]: ``top{k}`` (micro), ``macro_top{k}`` and, for every
        group with a box, ``{group}_top{k}`` and ``{group}_macro_top{k}``: of
        the boxes whose true class is in the group, scored against all
        classes. A group without a box has no accuracy and therefore no key.

    Raises:
        ValueError: If there is no box at all.

    Examples:
        Two boxes of class 0 (one right), one of class 1 (right), one of
        class 2 (wrong): micro 2/4, macro (1/2 + 1 + 0) / 3, group "a" of
        classes 0 and 1: micro 2/3, macro (1/2 + 1) / 2.

        >>> found = box_classification(
        ...     np.zeros(4, dtype=int), np.array([0, 0, 1, 2]),
        ...     np.array([1, 2, 1, 3]), groups=dict(a=[0, 1]), topk=(1,))
        >>> {key: round(units.figure, 2) for key, units in found.items()}
        {'top1': 50.0, 'macro_top1': 50.0, 'a_top1': 66.67, 'a_macro_top1': 75.0}
    """  # noqa: E501
    if not len(labels):
        raise ValueError('there is no ground-truth box to take a mean over')
    chosen = {'': np.ones(len(labels), dtype=bool)}
    for name, classes in (groups or {}).items():
        chosen[f'{name}_'] = np.isin(labels, list(classes))
    found = {}
    for prefix, rows in chosen.items():
        for macro in ('', 'macro_') if rows.any() else ():
            for k in topk:
                found[f'{prefix}{macro}top{k}'] = Units(
                    images[rows],
                    ranks[rows] <= k,
                    labels[rows] if macro else None,
                )
    return found
