"""CLIP checkpoints of all formats, in and out: names and tensors, no towers.

This room stands below the towers, which load themselves from it.
"""

from .addresses import SCHEMES, is_remote
from .blending import blend_state_dicts
from .checkpoint import OWN, TEACHER, Checkpoint, read_checkpoint
from .exporting import export
from .fitting import traits
from .loading import (
    HEADS,
    check_clip,
    clip_of,
    init_from_checkpoint,
    load_clip_weights,
    load_matching,
    pretrained_cfg,
)
from .unpickling import load_weights_only

__all__ = [
    'HEADS',
    'OWN',
    'SCHEMES',
    'TEACHER',
    'Checkpoint',
    'blend_state_dicts',
    'check_clip',
    'clip_of',
    'export',
    'init_from_checkpoint',
    'is_remote',
    'load_clip_weights',
    'load_matching',
    'load_weights_only',
    'pretrained_cfg',
    'read_checkpoint',
    'traits',
]
