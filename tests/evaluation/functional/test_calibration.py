"""Hand-derived bins, and a loop over predictions as the reference."""

import numpy as np
import pytest

from harmoclip_mm.evaluation.functional import measure_calibration


def _loop(scores, correct, num_bins):
    """ECE by its definition, one bin after the other."""
    total = 0.0
    for m in range(1, num_bins + 1):
        low, high = (m - 1) / num_bins, m / num_bins
        inside = [
            (s, c)
            for s, c in zip(scores.tolist(), correct.tolist())
            if low < s <= high or (m == 1 and s == 0)
        ]
        if inside:
            acc = sum(c for _, c in inside) / len(inside)
            conf = sum(s for s, _ in inside) / len(inside)
            total += len(inside) / len(scores) * abs(acc - conf)
    return total


def test_by_hand():
    """Five bins of 0.2; an edge belongs to the bin that it ends.

    (0, .2]: 0.1 wrong, 0.2 right: confidence .15, accuracy .5, gap .35.
    (.6, .8]: 0.7 right: gap .3.  (.8, 1]: 0.9, 1.0 right: .95, 1, gap .05.
    ECE = (2 * .35 + .3 + 2 * .05) / 5 = .22.
    """
    bins = measure_calibration(
        np.array([0.1, 0.2, 0.7, 0.9, 1.0]), np.arange(5) > 0, 5
    )
    assert bins.counts.tolist() == [2, 0, 0, 1, 2]
    assert np.allclose(bins.edges, [0, 0.2, 0.4, 0.6, 0.8, 1])
    assert np.allclose(
        bins.confidence, [0.15, np.nan, np.nan, 0.7, 0.95], equal_nan=True
    )
    assert np.allclose(
        bins.accuracy, [0.5, np.nan, np.nan, 1, 1], equal_nan=True
    )
    assert bins.error == pytest.approx(0.22)


@pytest.mark.parametrize('num_bins', [1, 10, 15])
def test_equals_the_definition(num_bins):
    rng = np.random.default_rng(num_bins)
    scores = rng.random(500).astype(np.float32)
    correct = rng.random(500) < scores**2
    ours = measure_calibration(scores, correct, num_bins).error
    assert ours == pytest.approx(_loop(scores, correct, num_bins), abs=1e-12)


def test_right_probabilities_have_no_error():
    scores = np.repeat([0.25, 0.75], 4)
    correct = np.array([1, 0, 0, 0, 1, 1, 1, 0], dtype=bool)
    assert measure_calibration(scores, correct, 2).error == 0


def test_zero_is_in_the_first_bin():
    bins = measure_calibration([0.0], np.array([False]), 3)
    assert bins.counts.tolist() == [1, 0, 0]


@pytest.mark.parametrize('scores', [[1.5], [float('nan')], []])
def test_bad_input(scores):
    with pytest.raises(ValueError, match='probabilities in'):
        measure_calibration(scores, np.ones(len(scores), dtype=bool))
