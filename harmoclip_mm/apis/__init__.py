"""What scripts call: launching, loading, inference."""

from harmoclip_mm.errors import CheckpointError, UsageError, run_command
from harmoclip_mm.evaluation import save_metrics

from .annotations import annotation_checksum, check_annotations
from .blending import blend_state_dicts
from .checkpoint import CheckpointGuard, use_safe_loading
from .class_names import (
    classes_of_annotations,
    classes_of_config,
    classes_of_results,
    metainfo_of_config,
)
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
    'annotation_checksum',
    'blend_state_dicts',
    'build_runner',
    'check_annotations',
    'classes_of_annotations',
    'classes_of_config',
    'classes_of_results',
    'export_clip',
    'load_clip',
    'load_config',
    'metainfo_of_config',
    'run_command',
    'save_metrics',
    'set_clip',
    'use_safe_loading',
]
