"""Whether a probability means what it says: reliability diagram and ECE."""

from typing import NamedTuple

import numpy as np

from .box_classification import count_hits


class Calibration(NamedTuple):
    """Predictions by confidence, in B bins of equal width.

    Attributes:
        edges (np.ndarray): Ends of the bins, (B + 1,), from 0 to 1.
        counts (np.ndarray): Predictions in each bin, (B,) int64.
        confidence (np.ndarray): Mean probability in each bin, (B,) in
            [0, 1]; NaN where a bin is empty.
        accuracy (np.ndarray): Share of right predictions in each bin, (B,)
            in [0, 1]; NaN where a bin is empty.
        error (float): Expected calibration error (ECE): the mean of
            ``|accuracy - confidence|``, weighted by the counts.
    """

    edges: np.ndarray
    counts: np.ndarray
    confidence: np.ndarray
    accuracy: np.ndarray
    error: float


def measure_calibration(
    scores: np.ndarray, correct: np.ndarray, num_bins: int = 15
) -> Calibration:
    """Hold the probability of predictions against how often they are right.

    Bin m of M holds the scores in ((m - 1) / M, m / M], as in Guo et al.,
    "On Calibration of Modern Neural Networks" (ICML 2017), equation 3; a
    score of 0, which no softmax gives, goes to the first bin.

    Args:
        scores (np.ndarray): Probability of the predicted class, (N,) in
            [0, 1].
        correct (np.ndarray): Whether the prediction is right, (N,) bool.
        num_bins (int): Number of bins. Defaults to 15, the paper's.

    Returns:
        Calibration: Counts and means of the bins, and the error.

    Raises:
        ValueError: If there is no score, or one is outside [0, 1] or not a
            number.

    Examples:
        Gaps 0.1 (two predictions) and 0.1 (one prediction).

        >>> found = measure_calibration(
        ...     np.array([0.5, 0.3, 0.9]), np.array([True, False, True]), 2)
        >>> found.counts.tolist(), found.accuracy.tolist()
        ([2, 1], [0.5, 1.0])
        >>> round(found.error, 3)
        0.1
    """
    scores = np.asarray(scores, dtype=np.float64)
    if not (scores.size and ((scores >= 0) & (scores <= 1)).all()):
        raise ValueError('scores must be probabilities in [0, 1]')
    edges = np.linspace(0, 1, num_bins + 1)
    # side='left': a score that equals an edge belongs to the bin it ends
    index = np.searchsorted(edges, scores, side='left') - 1
    index = index.clip(0, num_bins - 1)
    hits, counts = count_hits(index, correct, num_bins)
    filled = np.where(counts > 0, counts, np.nan)
    confidence = np.bincount(index, scores, num_bins) / filled
    accuracy = hits / filled
    gaps = np.abs(accuracy - confidence)
    error = float(np.nansum(gaps * counts) / counts.sum())
    return Calibration(edges, counts, confidence, accuracy, error)
