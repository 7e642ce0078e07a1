"""Thin ``BaseMetric`` wrappers over ``evaluation.functional``."""
