"""Zero-shot classifiers built from a text tower."""

from .text_embeddings import (
    TextEmbeddings,
    encode_vocabulary,
    tower_fingerprint,
)
from .zero_shot_classifier import ZeroShotClassifier

__all__ = [
    'TextEmbeddings',
    'ZeroShotClassifier',
    'encode_vocabulary',
    'tower_fingerprint',
]
