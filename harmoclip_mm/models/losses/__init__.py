"""Losses, one formula a file."""

from .concept_distillation_loss import ConceptDistillationLoss
from .contrastive_loss import ContrastiveLoss
from .crop_distance_loss import CropDistanceLoss
from .federated_loss import FederatedCrossEntropyLoss
from .hard_negative_loss import HardNegativeLoss
from .sigmoid_contrastive_loss import SigmoidContrastiveLoss

__all__ = [
    'ConceptDistillationLoss',
    'ContrastiveLoss',
    'CropDistanceLoss',
    'FederatedCrossEntropyLoss',
    'HardNegativeLoss',
    'SigmoidContrastiveLoss',
]
