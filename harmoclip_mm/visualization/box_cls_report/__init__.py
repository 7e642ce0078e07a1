"""A page about box classification: what is wrong, where, and how surely."""

from .page import write_page
from .summary import (
    BoxClsSummary,
    BoxPredictions,
    class_rows,
    collect,
    summarise,
)

__all__ = [
    'BoxClsSummary',
    'BoxPredictions',
    'class_rows',
    'collect',
    'summarise',
    'write_page',
]
