"""Hand-derived pairs, and a counter of Python's as the reference."""

from collections import Counter

import numpy as np
import pytest

from harmoclip_mm.evaluation.functional import confused_pairs, main_confusion


def test_by_hand():
    """0 -> 2 twice, 2 -> 0 once, 2 -> 1 once; 1 is always right."""
    gt_labels = np.array([0, 0, 0, 1, 2, 2])
    predicted = np.array([2, 0, 2, 1, 1, 0])
    pairs = confused_pairs(predicted, gt_labels, 4)
    assert pairs.true.tolist() == [0, 2, 2]
    assert pairs.predicted.tolist() == [2, 0, 1]
    assert pairs.counts.tolist() == [2, 1, 1]
    other, counts = main_confusion(pairs, 4)
    assert other.tolist() == [2, -1, 0, -1]
    assert counts.tolist() == [2, 0, 1, 0]


def test_equals_a_counter_and_loses_nothing():
    rng = np.random.default_rng(0)
    gt_labels, predicted = rng.integers(0, 1203, (2, 20000)) % 40
    pairs = confused_pairs(predicted, gt_labels, 1203)
    wrong = [
        (t, p) for t, p in zip(gt_labels.tolist(), predicted.tolist()) if t - p
    ]
    expected = sorted(
        Counter(wrong).items(), key=lambda item: (-item[1], item[0])
    )
    ours = list(zip(pairs.true.tolist(), pairs.predicted.tolist()))
    assert list(zip(ours, pairs.counts.tolist())) == expected
    assert pairs.counts.sum() == (gt_labels != predicted).sum()
    other, _ = main_confusion(pairs, 1203)
    for true in (0, 17, 39):
        mine = [(n, -p) for (t, p), n in expected if t == true]
        assert other[true] == -max(mine)[1]


def test_all_right_and_no_boxes():
    for labels in (np.array([1, 2]), np.zeros(0, dtype=int)):
        pairs = confused_pairs(labels, labels, 3)
        assert not pairs.counts.size
        assert main_confusion(pairs, 3)[0].tolist() == [-1, -1, -1]


@pytest.mark.parametrize(
    'predicted, gt_labels, message',
    [
        ([0], [0, 1], 'must both be'),
        ([3], [0], 'predicted hold classes 3 to 3'),
        ([0], [-1], 'gt_labels hold classes -1'),
    ],
)
def test_bad_input(predicted, gt_labels, message):
    with pytest.raises(ValueError, match=message):
        confused_pairs(predicted, gt_labels, 3)
