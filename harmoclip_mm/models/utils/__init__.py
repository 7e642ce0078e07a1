"""Helpers shared by models: region batches, distributed gathers."""

from .distributed import (
    GatheredRows,
    RowExchange,
    gather_rows,
    global_mean,
    world_size,
)
from .structures import (
    CLIPFeatures,
    RegionBatch,
    collate_regions,
    collate_weights,
    lexeme_pool,
)

__all__ = [
    'CLIPFeatures',
    'GatheredRows',
    'RegionBatch',
    'RowExchange',
    'collate_regions',
    'collate_weights',
    'gather_rows',
    'global_mean',
    'lexeme_pool',
    'world_size',
]
