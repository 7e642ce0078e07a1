"""Runner hooks."""

from .atomic_checkpoint_hook import AtomicCheckpointHook
from .data_health_hook import DataHealthHook
from .invalid_loss_hook import InvalidLossHook
from .vocabulary_hook import VocabularyHook

__all__ = [
    'AtomicCheckpointHook',
    'DataHealthHook',
    'InvalidLossHook',
    'VocabularyHook',
]
