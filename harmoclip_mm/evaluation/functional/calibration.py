"""Whether a probability means what it says: reliability diagram and ECE."""

from typing import NamedTuple, Tuple

import numpy as np


class ReliabilityBins(NamedTuple):
    """Predictions by confidence; B bins of equal width.

    Attributes:
        edges (np.ndarray): Ends of the bins, (B + 1,), from 0 to 1.
        counts (np.ndarray): Predictions in each bin, (B,) int64.
        confidence (np.ndarray): Mean probability in each bin, (B,) in
            [0, 1]; NaN where a bin is empty.
        accuracy (np.ndarray): Share of right predictions in each bin, (B,)
            in [0, 1]; NaN where a bin is empty.
    """

    edges: np.ndarray
    counts: np.ndarray
    confidence: np.ndarray
    accuracy: np.ndarray


def reliability_bins(
    scores: np.ndarray, correct: np.ndarray, num_bins: int = 15
) -> ReliabilityBins:
    """Sort predictions into bins of equal width by their probability.

    Bin m of M holds the scores in ((m - 1) / M, m / M], as in Guo et al.,
    "On Calibration of Modern Neural Networks" (ICML 2017); a score of 0,
    which no softmax gives, goes to the first bin.

    Args:
        scores (np.ndarray): Probability of the predicted class, (N,) in
            [0, 1].
        correct (np.ndarray): Whether the prediction is right, (N,) bool.
        num_bins (int): Number of bins. Defaults to 15, the paper's.

    Returns:
        ReliabilityBins: Counts and means of the bins.

    Raises:
        ValueError: If the shapes differ, a score is outside [0, 1] or not a
            number, or there is no bin.

    Examples:
        >>> bins = reliability_bins([0.5, 0.3, 0.9], [True, False, True], 2)
        >>> bins.counts.tolist(), bins.accuracy.tolist()
        ([2, 1], [0.5, 1.0])
    """
    scores = np.asarray(scores, dtype=np.float64)
    correct = np.asarray(correct, dtype=bool)
    if scores.ndim != 1 or scores.shape != correct.shape:
        raise ValueError(
            f'scores and correct must both be (N,), got {scores.shape} and '
            f'{correct.shape}'
        )
    if num_bins < 1:
        raise ValueError(f'num_bins must be at least 1, got {num_bins}')
    if not ((scores >= 0) & (scores <= 1)).all():
        raise ValueError(
            'scores must be probabilities in [0, 1], got '
            f'{scores.min()} to {scores.max()}'
        )
    edges = np.linspace(0, 1, num_bins + 1)
    # side='left': a score that equals an edge belongs to the bin it ends
    index = np.searchsorted(edges, scores, side='left') - 1
    index = np.clip(index, 0, num_bins - 1)
    counts = np.bincount(index, minlength=num_bins)
    sums = np.bincount(index, weights=scores, minlength=num_bins)
    hits = np.bincount(index, weights=correct, minlength=num_bins)
    filled = np.where(counts > 0, counts, np.nan)
    return ReliabilityBins(edges, counts, sums / filled, hits / filled)


def expected_calibration_error(bins: ReliabilityBins) -> Tuple[float, float]:
    """Expected and maximum calibration error (ECE, MCE).

    The gap of a bin is ``|accuracy - confidence|``; ECE is the mean of the
    gaps weighted by the bins' counts, MCE the largest of them (Guo et al.,
    ICML 2017, equations 3 and 5).

    Args:
        bins (ReliabilityBins): Of :func:`reliability_bins`.

    Returns:
        tuple[float, float]: ECE and MCE in [0, 1].

    Raises:
        ValueError: If all bins are empty.

    Examples:
        Gaps 0.1 (two predictions) and 0.1 (one prediction).

        >>> bins = reliability_bins([0.5, 0.3, 0.9], [True, False, True], 2)
        >>> [round(error, 3) for error in expected_calibration_error(bins)]
        [0.1, 0.1]
    """
    filled = bins.counts > 0
    if not filled.any():
        raise ValueError('there is no prediction to calibrate')
    gaps = np.abs(bins.accuracy - bins.confidence)[filled]
    weights = bins.counts[filled] / bins.counts.sum()
    return float((weights * gaps).sum()), float(gaps.max())
