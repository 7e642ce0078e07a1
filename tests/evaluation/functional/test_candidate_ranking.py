import doctest

import numpy as np
import pytest
from scipy.stats import rankdata

from harmoclip_mm.evaluation.functional import (
    candidate_ranking,
    candidate_ranks,
)


def test_example():
    found = doctest.testmod(candidate_ranking)
    assert found.attempted and not found.failed


def test_ranks_are_scipys_worst_of_the_tied():
    rng = np.random.default_rng(0)
    logits = rng.integers(0, 5, (200, 11)).astype(np.float32)  # many ties
    labels = rng.integers(0, 11, 200)
    expected = rankdata(-logits, method='max', axis=1)[np.arange(200), labels]
    assert candidate_ranks(logits, labels).tolist() == expected.tolist()


def test_no_box_has_no_rank():
    ranks = candidate_ranks(np.zeros((0, 3)), np.zeros(0, dtype=int))
    assert ranks.shape == (0,)


@pytest.mark.parametrize(
    ('logits', 'labels', 'message'),
    [
        ([[1.0, np.nan]], [0], 'a score is NaN'),
        ([[-np.inf, 1.0]], [0], 'not finite'),
        ([[1.0, 2.0]], [2], 'hold candidates 2 to 2, but there are 2'),
        ([[1.0, 2.0]], [0, 1], r'must be \(N, T\)'),
    ],
)
def test_bad_input(logits, labels, message):
    with pytest.raises(ValueError, match=message):
        candidate_ranks(np.array(logits), np.array(labels))
