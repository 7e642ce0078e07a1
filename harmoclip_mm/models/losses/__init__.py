"""Losses: pure functions, then registered classes."""

from .concept_distillation_loss import (
    ConceptDistillationLoss,
    distillation_kl,
)
from .contrastive_loss import ContrastiveLoss
from .crop_distance_loss import CropDistanceLoss, cosine_distance
from .federated_loss import (
    FederatedCrossEntropyLoss,
    federated_cross_entropy,
    read_frequencies,
    sample_classes,
)
from .hard_negative_loss import HardNegativeLoss
from .info_nce import pair_groups, symmetric_info_nce
from .sigmoid_contrastive_loss import SigmoidContrastiveLoss, pairwise_sigmoid

__all__ = [
    'ConceptDistillationLoss',
    'ContrastiveLoss',
    'CropDistanceLoss',
    'FederatedCrossEntropyLoss',
    'HardNegativeLoss',
    'SigmoidContrastiveLoss',
    'cosine_distance',
    'distillation_kl',
    'federated_cross_entropy',
    'pair_groups',
    'pairwise_sigmoid',
    'read_frequencies',
    'sample_classes',
    'symmetric_info_nce',
]
