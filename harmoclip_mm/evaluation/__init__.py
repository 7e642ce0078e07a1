"""Metrics: pure functions and their mmengine wrappers."""

from harmoclip_mm.compat import import_stack

import_stack()

from .metrics import *  # noqa: E402, F403
