"""Helpers shared by models: region batches, distributed gathers."""

from .distributed import RowExchange, gather_rows, global_mean
from .structures import (
    CLIPFeatures,
    RegionBatch,
    collate_regions,
    collate_weights,
    has_pixels,
    lexeme_pool,
    read_field,
)

__all__ = [
    'CLIPFeatures',
    'RegionBatch',
    'RowExchange',
    'collate_regions',
    'collate_weights',
    'gather_rows',
    'global_mean',
    'has_pixels',
    'lexeme_pool',
    'read_field',
]
