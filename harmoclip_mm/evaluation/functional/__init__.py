"""Metrics as pure functions over arrays."""

from .box_classification import (
    box_classification_accuracy,
    count_hits,
    mean_accuracy,
)
from .retrieval import retrieval_ranks, retrieval_recall

__all__ = [
    'box_classification_accuracy',
    'count_hits',
    'mean_accuracy',
    'retrieval_ranks',
    'retrieval_recall',
]
