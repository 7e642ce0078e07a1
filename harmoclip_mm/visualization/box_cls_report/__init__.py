"""A page about box classification: what is wrong, where, and how surely."""

from .page import write_page
from .summary import BoxClsSummary, BoxPredictions, collect, summarise

__all__ = [
    'BoxClsSummary',
    'BoxPredictions',
    'collect',
    'summarise',
    'write_page',
]
