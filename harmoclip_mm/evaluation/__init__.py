"""Metrics: pure functions and their mmengine wrappers."""
