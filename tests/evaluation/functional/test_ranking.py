"""Ranks by SciPy and by sorting, ties against the model."""

import doctest
from importlib import import_module

import numpy as np
import pytest
from scipy.stats import rankdata

from harmoclip_mm.evaluation.functional import answer_ranks


@pytest.mark.parametrize(
    'module',
    [
        'functional.average_precision',
        'functional.bootstrap',
        'functional.box_classification',
        'functional.calibration',
        'functional.ranking',
        'functional.retrieval',
        'metrics.common',
    ],
)
def test_examples(module):
    found = doctest.testmod(import_module(f'harmoclip_mm.evaluation.{module}'))
    assert found.attempted and not found.failed


def test_ranks_are_scipys_worst_of_the_tied():
    rng = np.random.default_rng(0)
    scores = rng.integers(0, 5, (200, 11)).astype(np.float32)  # many ties
    labels = rng.integers(0, 11, 200)
    expected = rankdata(-scores, method='max', axis=1)[np.arange(200), labels]
    ranks = answer_ranks(scores, labels[:, None] == np.arange(11))
    assert ranks.tolist() == expected.tolist()


def test_the_best_right_answer_counts_and_no_right_one_is_beaten_by_all():
    scores = np.array([[0.9, 0.8, 0.8], [0.1, 0.2, 0.3]])
    right = np.array([[False, True, False], [True, False, True]])
    assert answer_ranks(scores, right).tolist() == [3, 1]
    assert answer_ranks(scores, right & False).tolist() == [4, 4]
    assert answer_ranks(scores, right | True).tolist() == [1, 1]


def test_an_order_without_scores():
    labels = np.array([[3, 1], [1, 3], [0, 2]])
    assert answer_ranks(-np.arange(2), labels == 3).tolist() == [1, 2, 3]


def test_of_equal_scores_the_true_class_comes_last():
    """Whichever of the tied a model lists first, also across the border."""
    rng = np.random.default_rng(4)
    scores = rng.integers(0, 6, (400, 12))
    labels = rng.integers(0, 12, 400)
    expected = rankdata(-scores, method='max', axis=1)[np.arange(400), labels]
    for seed in range(3):
        shuffled = np.random.default_rng(seed).permutation(12)
        order = np.argsort(-scores[:, shuffled], axis=1, kind='stable')
        topk_labels = shuffled[order][:, :6]
        topk_scores = np.take_along_axis(scores, topk_labels, axis=1)
        ranks = answer_ranks(topk_scores, topk_labels == labels[:, None])
        for k in (1, 5):
            assert ((ranks <= k) == (expected <= k)).all()


def test_no_question_has_no_rank():
    assert answer_ranks(np.zeros((0, 3)), np.zeros((0, 3))).shape == (0,)


@pytest.mark.parametrize(
    ('scores', 'message'),
    [
        ([[1.0, np.nan]], 'a score is NaN'),
        ([[-np.inf, 1.0]], 'not finite'),
        ([[1.0, 2.0, 3.0]], 'shape'),
    ],
)
def test_bad_input(scores, message):
    with pytest.raises(ValueError, match=message):
        answer_ranks(np.array(scores), np.array([[True, False]]))
