"""Runner hooks."""

from .atomic_checkpoint_hook import AtomicCheckpointHook
from .data_health_hook import DataHealthHook
from .exact_resume_hook import ExactResumeHook
from .invalid_loss_hook import InvalidLossHook
from .vocabulary_hook import VocabularyHook

__all__ = [
    'AtomicCheckpointHook',
    'DataHealthHook',
    'ExactResumeHook',
    'InvalidLossHook',
    'VocabularyHook',
]
