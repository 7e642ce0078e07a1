"""Hand-derived accuracies, and a second computation in plain Python."""

import numpy as np
import pytest

from harmoclip_mm.evaluation.functional import answer_ranks, box_classification


def accuracy_of(ranks, labels, *args, **kwargs):
    """Figures of one box an image."""
    images = np.arange(len(labels))
    units = box_classification(images, labels, ranks, *args, **kwargs)
    return {key: each.figure for key, each in units.items()}


def test_hand_derived_numbers():
    # class 0: boxes a, b, c, d; class 1: box e; class 3: boxes f, g
    labels = np.array([0, 0, 0, 0, 1, 3, 3])
    # a b g come first, c f second, d e are missed
    ranks = np.array([1, 1, 2, 3, 3, 2, 1])
    accuracy = accuracy_of(
        ranks,
        labels,
        groups={'thing': [0, 1], 'stuff': [2, 3], 'none': [2]},
        topk=(1, 2),
    )
    # top1 hits: a b g -> 3/7; top2 hits: a b c f g -> 5/7
    # macro over classes 0, 1, 3 (2 has no box):
    #   top1 (2/4 + 0/1 + 1/2) / 3 = 1/3; top2 (3/4 + 0 + 2/2) / 3 = 7/12
    # thing: micro 2/5, 3/5; macro (2/4 + 0)/2 = 1/4, (3/4 + 0)/2 = 3/8
    # stuff: class 3 only, micro = macro = 1/2, 1
    expected = {
        'top1': 300 / 7,
        'top2': 500 / 7,
        'macro_top1': 100 / 3,
        'macro_top2': 700 / 12,
        'thing_top1': 40.0,
        'thing_top2': 60.0,
        'thing_macro_top1': 25.0,
        'thing_macro_top2': 37.5,
        'stuff_top1': 50.0,
        'stuff_top2': 100.0,
        'stuff_macro_top1': 50.0,
        'stuff_macro_top2': 100.0,
    }
    assert list(accuracy) == list(expected)
    assert accuracy == pytest.approx(expected, abs=1e-12)


def test_no_rounding_to_half_precision():
    # one of 3000 boxes right: 0.0333... %, in float16 it would be 0.03333
    ranks = np.array([1] + [9] * 2999)
    accuracy = accuracy_of(ranks, np.zeros(3000, int))
    exact = pytest.approx(100 / 3000, rel=1e-15)
    assert accuracy['top1'] == accuracy['macro_top1'] == exact


def test_against_plain_python():
    rng = np.random.default_rng(0)
    num_classes, k = 11, 5
    labels = rng.integers(0, 9, 500)  # classes 9 and 10 have no box
    topk_labels = np.stack(
        [rng.permutation(num_classes)[:k] for _ in range(500)]
    )
    groups = {'base': range(0, 7), 'novel': range(7, 11)}
    ranks = answer_ranks(-np.arange(k), topk_labels == labels[:, None])
    accuracy = accuracy_of(ranks, labels, groups)
    for name, classes in {'': range(11), **groups}.items():
        for t in (1, 5):
            right = {c: [] for c in classes}
            for row, label in zip(topk_labels.tolist(), labels.tolist()):
                if label in right:
                    right[label].append(label in row[:t])
            seen = [r for r in right.values() if r]
            micro = sum(map(sum, seen)) / sum(map(len, seen))
            macro = sum(sum(r) / len(r) for r in seen) / len(seen)
            start = f'{name}_' if name else ''
            assert accuracy[f'{start}top{t}'] == pytest.approx(100 * micro)
            assert accuracy[f'{start}macro_top{t}'] == pytest.approx(
                100 * macro
            )


def test_no_box_at_all():
    with pytest.raises(ValueError, match='no ground-truth box'):
        accuracy_of(np.zeros(0), np.zeros(0))
