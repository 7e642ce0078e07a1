"""Metrics as pure functions over arrays."""

from .average_precision import Detections
from .bootstrap import Units, bootstrap, interval_of_difference
from .box_classification import box_classification, count_hits
from .calibration import Calibration, measure_calibration
from .ranking import answer_ranks
from .retrieval import region_retrieval, retrieval_ranks

__all__ = [
    'Calibration',
    'Detections',
    'Units',
    'answer_ranks',
    'bootstrap',
    'box_classification',
    'count_hits',
    'interval_of_difference',
    'measure_calibration',
    'region_retrieval',
    'retrieval_ranks',
]
