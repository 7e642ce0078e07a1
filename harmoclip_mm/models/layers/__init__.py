"""Layers shared by the towers."""

from .checkpointing import run_block
from .logit_scale import LogitScale
from .window_attention import spread_evenly, window_attention

__all__ = ['LogitScale', 'run_block', 'spread_evenly', 'window_attention']
