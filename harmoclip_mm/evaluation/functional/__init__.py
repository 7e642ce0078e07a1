"""Metrics as pure functions over arrays."""

from .bootstrap import Units, bootstrap_difference, mean_of_units
from .box_classification import box_classification_accuracy, count_hits
from .calibration import Calibration, measure_calibration
from .ranking import answer_ranks
from .region_retrieval import region_retrieval
from .retrieval import retrieval_ranks, retrieval_recall

__all__ = [
    'Calibration',
    'Units',
    'answer_ranks',
    'bootstrap_difference',
    'box_classification_accuracy',
    'count_hits',
    'mean_of_units',
    'measure_calibration',
    'region_retrieval',
    'retrieval_ranks',
    'retrieval_recall',
]
