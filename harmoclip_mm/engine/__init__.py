"""Hooks and training strategies."""

from .hooks import DataHealthHook
from .strategies import CLIPFSDPStrategy

__all__ = ['CLIPFSDPStrategy', 'DataHealthHook']
"""Hooks, loops and how checkpoints are written."""

from .hooks import (
    AtomicCheckpointHook,
    DataHealthHook,
    ExactResumeHook,
    InvalidLossHook,
)
from .loops import ResumableEpochTrainLoop

__all__ = [
    'AtomicCheckpointHook',
    'DataHealthHook',
    'ExactResumeHook',
    'InvalidLossHook',
    'ResumableEpochTrainLoop',
]
