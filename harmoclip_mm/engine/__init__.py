"""Hooks, loops, training strategies and how checkpoints are written."""

from .hooks import (
    AtomicCheckpointHook,
    DataHealthHook,
    ExactResumeHook,
    InvalidLossHook,
    VocabularyHook,
)
from .loops import ResumableEpochTrainLoop
from .strategies import CLIPFSDPStrategy

__all__ = [
    'AtomicCheckpointHook',
    'CLIPFSDPStrategy',
    'DataHealthHook',
    'ExactResumeHook',
    'InvalidLossHook',
    'ResumableEpochTrainLoop',
    'VocabularyHook',
]
