"""Losses: pure functions, then registered classes."""

from .concept_distillation_loss import (
    ConceptDistillationLoss,
    distillation_kl,
)
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
from .sigmoid_contrastive_loss import (
    GlobalSigmoidLoss,
    RegionSigmoidLoss,
    pairwise_sigmoid,
)

__all__ = [
    'ConceptDistillationLoss',
    'GlobalContrastiveLoss',
    'GlobalRegionAlignmentLoss',
    'GlobalSigmoidLoss',
    'LexemeRegionContrastiveLoss',
    'RegionSigmoidLoss',
    'cosine_distance',
    'distillation_kl',
    'multi_positive_info_nce',
    'pair_groups',
    'pairwise_sigmoid',
    'symmetric_info_nce',
]
