"""Zero-shot classifiers built from a text tower."""

from .zero_shot_classifier import ZeroShotClassifier

__all__ = ['ZeroShotClassifier']
