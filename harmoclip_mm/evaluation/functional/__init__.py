"""Metrics as pure functions over arrays."""

from .box_classification import (
    box_classification_accuracy,
    count_hits,
    mean_accuracy,
)
from .box_size import (
    COCO_AREAS,
    FINE_SIDES,
    box_areas,
    count_hits_by_area,
    wilson_interval,
)
from .calibration import (
    ReliabilityBins,
    expected_calibration_error,
    reliability_bins,
)
from .candidate_ranking import candidate_ranks
from .confusion import ConfusedPairs, confused_pairs, main_confusion
from .retrieval import retrieval_ranks, retrieval_recall

__all__ = [
    'COCO_AREAS',
    'FINE_SIDES',
    'ConfusedPairs',
    'ReliabilityBins',
    'box_areas',
    'box_classification_accuracy',
    'candidate_ranks',
    'confused_pairs',
    'count_hits',
    'count_hits_by_area',
    'expected_calibration_error',
    'main_confusion',
    'mean_accuracy',
    'reliability_bins',
    'retrieval_ranks',
    'retrieval_recall',
    'wilson_interval',
]
