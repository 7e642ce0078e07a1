"""Hooks, exact resume, layer decay, and how a run is started."""

from .exact_resume import ExactResumeHook, ResumableEpochTrainLoop
from .hooks import (
    AtomicCheckpointHook,
    DataHealthHook,
    InvalidLossHook,
)
from .launch import LAUNCHERS, close_launcher, setup_launcher
from .layer_decay import BackboneLayerDecayOptimWrapperConstructor
from .resume import setup_resume

__all__ = [
    'LAUNCHERS',
    'AtomicCheckpointHook',
    'BackboneLayerDecayOptimWrapperConstructor',
    'DataHealthHook',
    'ExactResumeHook',
    'InvalidLossHook',
    'ResumableEpochTrainLoop',
    'close_launcher',
    'setup_launcher',
    'setup_resume',
]
