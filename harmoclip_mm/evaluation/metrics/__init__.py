"""Thin ``BaseMetric`` wrappers over ``evaluation.functional``."""

from .box_classification_metric import BoxClassificationMetric
from .dump_results import DumpRegionResults
from .retrieval_metric import ImageTextRetrievalMetric

__all__ = [
    'BoxClassificationMetric',
    'DumpRegionResults',
    'ImageTextRetrievalMetric',
]
