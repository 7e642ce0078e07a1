"""What scripts call: launching, loading, inference."""

from harmoclip_mm.errors import CheckpointError, UsageError, run_command
from harmoclip_mm.evaluation import save_metrics

from .blending import blend_state_dicts
from .checkpoint import CheckpointGuard, use_safe_loading
from .clip import (
    EXPORT_FORMATS,
    add_reading_options,
    export_clip,
    load_clip,
)
from .config import load_config, set_clip
from .open_vocabulary_inferencer import OpenVocabularyInferencer
from .runner import build_runner

__all__ = [
    'EXPORT_FORMATS',
    'CheckpointError',
    'CheckpointGuard',
    'OpenVocabularyInferencer',
    'UsageError',
    'add_reading_options',
    'blend_state_dicts',
    'build_runner',
    'export_clip',
    'load_clip',
    'load_config',
    'run_command',
    'save_metrics',
    'set_clip',
    'use_safe_loading',
]
