"""Hooks, loops, optimizers, strategies, and how a run is started."""

from .hooks import (
    AtomicCheckpointHook,
    DataHealthHook,
    ExactResumeHook,
    InvalidLossHook,
)
from .launch import LAUNCHERS, close_launcher, setup_launcher
from .loops import ResumableEpochTrainLoop
from .optimizers import LearningRateDecayOptimWrapperConstructor
from .resume import setup_resume
from .strategies import CLIPFSDPStrategy

__all__ = [
    'LAUNCHERS',
    'AtomicCheckpointHook',
    'CLIPFSDPStrategy',
    'DataHealthHook',
    'ExactResumeHook',
    'InvalidLossHook',
    'LearningRateDecayOptimWrapperConstructor',
    'ResumableEpochTrainLoop',
    'close_launcher',
    'setup_launcher',
    'setup_resume',
]
