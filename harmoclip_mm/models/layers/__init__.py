"""Layers shared by the towers."""

from .checkpointing import run_block
from .logit_scale import LogitScale, cosine_logits
from .window_attention import spread_evenly, window_attention

__all__ = [
    'LogitScale',
    'cosine_logits',
    'run_block',
    'spread_evenly',
    'window_attention',
]
