"""Hand-derived accuracies, and a second computation in plain Python."""

import numpy as np
import pytest

from harmoclip_mm.evaluation.functional import (
    box_classification_accuracy,
    count_hits,
    mean_accuracy,
)


def test_hand_derived_numbers():
    # class 0: boxes a, b, c, d; class 1: box e; class 3: boxes f, g
    gt_labels = np.array([0, 0, 0, 0, 1, 3, 3])
    topk_labels = np.array(
        [
            [0, 1],  # a: first
            [0, 2],  # b: first
            [1, 0],  # c: second
            [1, 2],  # d: missed
            [3, 0],  # e: missed
            [2, 3],  # f: second
            [3, 1],  # g: first
        ]
    )
    accuracy = box_classification_accuracy(
        topk_labels,
        gt_labels,
        4,
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
    hits, counts = np.array([[1]]), np.array([3000])
    micro, macro = mean_accuracy(hits, counts)
    assert micro[0] == macro[0] == pytest.approx(100 / 3000, rel=1e-15)


def test_against_plain_python():
    rng = np.random.default_rng(0)
    num_classes, k = 11, 5
    gt_labels = rng.integers(0, 9, 500)  # classes 9 and 10 have no box
    topk_labels = np.stack(
        [rng.permutation(num_classes)[:k] for _ in range(500)]
    )
    groups = {'base': range(0, 7), 'novel': range(7, 11)}
    accuracy = box_classification_accuracy(
        topk_labels, gt_labels, num_classes, groups
    )
    for name, classes in {'': range(11), **groups}.items():
        for t in (1, 5):
            right = {c: [] for c in classes}
            for row, label in zip(topk_labels.tolist(), gt_labels.tolist()):
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


def test_k_above_the_number_of_classes_is_all_of_them():
    hits, counts = count_hits(np.array([[1, 0]]), np.array([0]), 2, (1, 5))
    assert hits.tolist() == [[0, 1], [0, 0]]
    assert counts.tolist() == [1, 0]


@pytest.mark.parametrize(
    ('topk_labels', 'gt_labels', 'topk', 'message'),
    [
        ([[0]], [0, 1], (1,), r'got \(1, 1\) and \(2,\)'),
        ([[0, 1]], [0], (1, 3), 'needs 3 predicted classes a box, got 2'),
        ([[0, 9]], [0], (1,), 'topk_labels hold classes 0 to 9'),
        ([[0, 1]], [-1], (1,), 'gt_labels hold classes -1 to -1'),
        ([[0, 1]], [0], (0,), 'at least 1'),
    ],
)
def test_bad_input(topk_labels, gt_labels, topk, message):
    with pytest.raises(ValueError, match=message):
        count_hits(np.array(topk_labels), np.array(gt_labels), 4, topk)


def test_no_box_at_all():
    with pytest.raises(ValueError, match='no ground-truth box'):
        box_classification_accuracy(
            np.zeros((0, 5), dtype=int), np.zeros(0, dtype=int), 8
        )


def _worst_rank(scores, label):
    """Rank of a class among all, those of equal score before it."""
    order = sorted(range(len(scores)), key=lambda c: (-scores[c], c == label))
    return order.index(label) + 1


def test_of_equal_scores_the_true_class_comes_last():
    # few distinct scores, so that ties are common, also across the border
    rng = np.random.default_rng(4)
    scores = rng.integers(0, 6, (400, 12))
    gt_labels = rng.integers(0, 12, 400)
    ranks = [_worst_rank(row, gt) for row, gt in zip(scores, gt_labels)]
    for seed in range(3):  # whichever of the tied come first
        shuffled = np.random.default_rng(seed).permutation(12)
        order = np.argsort(-scores[:, shuffled], axis=1, kind='stable')
        topk_labels = shuffled[order][:, :6]
        topk_scores = np.take_along_axis(scores, topk_labels, axis=1)
        hits, counts = count_hits(
            topk_labels, gt_labels, 12, (1, 5), topk_scores
        )
        expected = (np.array(ranks)[:, None] <= [1, 5]).sum(axis=0)
        assert hits.sum(axis=0).tolist() == expected.tolist()
        assert counts.sum() == 400
    assert 0 < expected[0] < expected[1] < 400


def test_a_constant_model_hits_nothing():
    labels = np.tile(np.arange(6), (10, 1))
    gt_labels = np.arange(10) % 6
    accuracy = box_classification_accuracy(
        labels, gt_labels, 80, topk_scores=np.full(labels.shape, 1 / 80)
    )
    assert set(accuracy.values()) == {0.0}


@pytest.mark.parametrize(
    ('scores', 'message'),
    [
        (np.ones((1, 2)), r'shape of topk_labels, \(1, 1\), got \(1, 2\)'),
        (np.array([[np.nan]]), 'topk_scores hold NaN'),
    ],
)
def test_bad_scores(scores, message):
    with pytest.raises(ValueError, match=message):
        count_hits(np.array([[0]]), np.array([0]), 3, (1,), scores)
