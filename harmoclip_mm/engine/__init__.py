"""Hooks, loops, optimizers, strategies and how checkpoints are written."""

from .hooks import (
    AtomicCheckpointHook,
    DataHealthHook,
    ExactResumeHook,
    InvalidLossHook,
    VocabularyHook,
)
from .loops import ResumableEpochTrainLoop
from .optimizers import LearningRateDecayOptimWrapperConstructor
from .strategies import CLIPFSDPStrategy

__all__ = [
    'AtomicCheckpointHook',
    'CLIPFSDPStrategy',
    'DataHealthHook',
    'ExactResumeHook',
    'InvalidLossHook',
    'LearningRateDecayOptimWrapperConstructor',
    'ResumableEpochTrainLoop',
    'VocabularyHook',
]
