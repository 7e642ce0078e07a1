"""Thin ``BaseMetric`` wrappers over ``evaluation.functional``."""

from .box_classification_metric import BoxClassificationMetric
from .candidate_metric import FGOVDMetric
from .dump_results import DumpRegionResults
from .lvis_metric import LVISAPMetric
from .region_retrieval_metric import RegionRetrievalMetric
from .results_file import load_results, save_metrics
from .retrieval_metric import ImageTextRetrievalMetric
from .units import find_units

__all__ = [
    'BoxClassificationMetric',
    'DumpRegionResults',
    'FGOVDMetric',
    'ImageTextRetrievalMetric',
    'LVISAPMetric',
    'RegionRetrievalMetric',
    'find_units',
    'load_results',
    'save_metrics',
]
