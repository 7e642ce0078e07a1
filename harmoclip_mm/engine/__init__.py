"""Hooks, loops, optimizers, strategies, and how a run is started."""

from .hooks import (
    AtomicCheckpointHook,
    DataHealthHook,
    ExactResumeHook,
    InvalidLossHook,
    VocabularyHook,
)
from .launch import LAUNCHERS, close_launcher, setup_launcher
from .layer_decay import BackboneLayerDecayOptimWrapperConstructor
from .loops import ResumableEpochTrainLoop
from .resume import setup_resume
from .strategies import CLIPFSDPStrategy

__all__ = [
    'LAUNCHERS',
    'AtomicCheckpointHook',
    'BackboneLayerDecayOptimWrapperConstructor',
    'CLIPFSDPStrategy',
    'DataHealthHook',
    'ExactResumeHook',
    'InvalidLossHook',
    'ResumableEpochTrainLoop',
    'VocabularyHook',
    'close_launcher',
    'setup_launcher',
    'setup_resume',
]
