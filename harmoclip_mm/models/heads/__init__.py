"""Heads: each owns logits and targets, delegates to its loss."""

from .base_head import BaseContrastiveHead
from .contrastive_heads import (
    ConceptDistillationHead,
    GlobalContrastiveHead,
    HardNegativeHead,
    RegionPhraseHead,
)
from .region_alignment_head import RegionAlignmentHead

__all__ = [
    'BaseContrastiveHead',
    'ConceptDistillationHead',
    'GlobalContrastiveHead',
    'HardNegativeHead',
    'RegionAlignmentHead',
    'RegionPhraseHead',
]
