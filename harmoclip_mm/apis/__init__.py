"""What scripts call: launching, loading, inference."""

from .checkpoint import CheckpointError, CheckpointGuard, use_safe_loading
from .config import load_config
from .errors import UsageError, run_command
from .launch import LAUNCHERS, close_launcher, setup_launcher
from .metrics_file import save_metrics

__all__ = [
    'LAUNCHERS',
    'CheckpointError',
    'CheckpointGuard',
    'UsageError',
    'close_launcher',
    'load_config',
    'run_command',
    'save_metrics',
    'setup_launcher',
    'use_safe_loading',
]
