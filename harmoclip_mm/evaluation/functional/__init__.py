"""Metrics as pure functions over arrays."""

from .box_classification import box_classification_accuracy, count_hits
from .calibration import Calibration, measure_calibration
from .ranking import answer_ranks
from .retrieval import retrieval_recall

__all__ = [
    'Calibration',
    'answer_ranks',
    'box_classification_accuracy',
    'count_hits',
    'measure_calibration',
    'retrieval_recall',
]
