"""Layers shared by the towers."""

from .checkpointing import run_block
from .eva02_block import EVA02Block
from .logit_scale import LogitScale
from .pos_embed import resize_pos_embed
from .quick_gelu import QuickGELU
from .rope import rotary_angles, rotate_patches
from .text_block import CausalBlock
from .vision_block import DENSE_MODES, BranchingEncoderLayer, BranchingMixin
from .window_attention import spread_evenly, window_attention

__all__ = [
    'DENSE_MODES',
    'BranchingEncoderLayer',
    'BranchingMixin',
    'CausalBlock',
    'EVA02Block',
    'LogitScale',
    'QuickGELU',
    'resize_pos_embed',
    'rotary_angles',
    'rotate_patches',
    'run_block',
    'spread_evenly',
    'window_attention',
]
