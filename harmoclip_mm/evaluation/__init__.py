"""Metrics: pure functions and their mmengine wrappers."""

from .metrics import *  # noqa: F403
