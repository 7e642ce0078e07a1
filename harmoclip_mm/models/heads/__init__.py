"""Heads: each owns logits and targets, delegates to its loss."""

from .base_head import BaseContrastiveHead
from .concept_distillation_head import ConceptDistillationHead
from .global_contrastive_head import GlobalContrastiveHead
from .hard_negative_head import HardNegativeHead
from .region_alignment_head import RegionAlignmentHead
from .region_phrase_head import RegionPhraseHead

__all__ = [
    'BaseContrastiveHead',
    'ConceptDistillationHead',
    'GlobalContrastiveHead',
    'HardNegativeHead',
    'RegionAlignmentHead',
    'RegionPhraseHead',
]
