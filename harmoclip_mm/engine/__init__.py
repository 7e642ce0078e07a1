"""Hooks, exact resume, layer decay, and how a run is started."""

from .checkpoint_guard import CheckpointGuard, use_safe_loading
from .dataset_check import build_dataset, check_data
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
from .runner import build_runner, quieten_libraries

__all__ = [
    'AtomicCheckpointHook',
    'BackboneLayerDecayOptimWrapperConstructor',
    'CheckpointGuard',
    'DataHealthHook',
    'DrawPredictionsHook',
    'ExactResumeHook',
    'InvalidLossHook',
    'ResumableEpochTrainLoop',
    'build_dataset',
    'build_runner',
    'check_data',
    'close_launcher',
    'quieten_libraries',
    'setup_launcher',
    'setup_resume',
    'use_safe_loading',
]
