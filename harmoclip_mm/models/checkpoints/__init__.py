"""CLIP checkpoints of all formats, in and out: names and tensors, no towers.

This room stands below the towers, which load themselves from it.
"""

from .activation import Activation, activation_of
from .architecture import ARCHITECTURES, architecture_name
from .clip_checkpoint import CLIPCheckpoint, read_clip, recognise
from .hub import is_remote
from .loading import (
    HEADS,
    TEACHER,
    check_activation,
    init_from_checkpoint,
    load_clip_weights,
    load_matching,
    pretrained_cfg,
)
from .pickles import load_weights_only
from .reading import RawCheckpoint, read_checkpoint

__all__ = [
    'ARCHITECTURES',
    'HEADS',
    'TEACHER',
    'Activation',
    'CLIPCheckpoint',
    'RawCheckpoint',
    'activation_of',
    'architecture_name',
    'check_activation',
    'init_from_checkpoint',
    'is_remote',
    'load_clip_weights',
    'load_matching',
    'load_weights_only',
    'pretrained_cfg',
    'read_checkpoint',
    'read_clip',
    'recognise',
]
