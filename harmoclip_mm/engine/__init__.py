"""Hooks, exact resume, layer decay, and how a run is started."""

from .checkpoint_guard import CheckpointGuard, use_safe_loading
from .dataset_check import check_data
from .exact_resume import ExactResumeHook, ResumableEpochTrainLoop
from .hooks import (
    AtomicCheckpointHook,
    DataHealthHook,
    DrawPredictionsHook,
    InvalidLossHook,
)
from .launch import close_launcher, setup_launcher
from .layer_decay import BackboneLayerDecayOptimWrapperConstructor
from .resume import setup_resume
from .runner import build_runner

__all__ = [
    'AtomicCheckpointHook',
    'BackboneLayerDecayOptimWrapperConstructor',
    'CheckpointGuard',
    'DataHealthHook',
    'DrawPredictionsHook',
    'ExactResumeHook',
    'InvalidLossHook',
    'ResumableEpochTrainLoop',
    'build_runner',
    'check_data',
    'close_launcher',
    'setup_launcher',
    'setup_resume',
    'use_safe_loading',
]
