"""Losses: pure functions, then registered classes."""

from .global_contrastive_loss import GlobalContrastiveLoss
from .global_region_alignment_loss import (
    GlobalRegionAlignmentLoss,
    cosine_distance,
)
from .info_nce import (
    multi_positive_info_nce,
    pair_groups,
    symmetric_info_nce,
)
from .lexeme_region_contrastive_loss import LexemeRegionContrastiveLoss

__all__ = [
    'GlobalContrastiveLoss',
    'GlobalRegionAlignmentLoss',
    'LexemeRegionContrastiveLoss',
    'cosine_distance',
    'multi_positive_info_nce',
    'pair_groups',
    'symmetric_info_nce',
]
