"""Layers shared by the towers."""

from .checkpointing import run_block
from .logit_scale import LogitScale
from .pos_embed import resize_pos_embed
from .text_block import CausalBlock
from .vision_block import DENSE_MODES, BranchingEncoderLayer

__all__ = [
    'DENSE_MODES',
    'BranchingEncoderLayer',
    'CausalBlock',
    'LogitScale',
    'resize_pos_embed',
    'run_block',
]
