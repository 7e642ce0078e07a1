"""Losses: pure functions, then registered classes."""

from .concept_distillation_loss import (
    ConceptDistillationLoss,
    distillation_kl,
)
from .federated_loss import (
    FederatedCrossEntropyLoss,
    federated_cross_entropy,
    read_frequencies,
    sample_classes,
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
    'FederatedCrossEntropyLoss',
    'GlobalContrastiveLoss',
    'GlobalRegionAlignmentLoss',
    'GlobalSigmoidLoss',
    'LexemeRegionContrastiveLoss',
    'RegionSigmoidLoss',
    'cosine_distance',
    'distillation_kl',
    'federated_cross_entropy',
    'multi_positive_info_nce',
    'pair_groups',
    'pairwise_sigmoid',
    'read_frequencies',
    'sample_classes',
    'symmetric_info_nce',
]
