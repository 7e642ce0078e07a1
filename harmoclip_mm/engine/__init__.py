"""Hooks, exact resume, layer decay, and how a run is started."""

from .atomic_checkpoint_hook import AtomicCheckpointHook
from .checkpoint_guard import CheckpointGuard, use_safe_loading
from .data_health_hook import DataHealthHook
from .dataset_check import build_dataset, check_data
from .draw_predictions_hook import DrawPredictionsHook
from .exact_resume import ExactResumeHook, ResumableEpochTrainLoop
from .invalid_loss_hook import InvalidLossHook
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
