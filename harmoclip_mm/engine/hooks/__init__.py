"""Runner hooks."""

from .atomic_checkpoint_hook import AtomicCheckpointHook
from .data_health_hook import DataHealthHook
from .draw_predictions_hook import DrawPredictionsHook
from .invalid_loss_hook import InvalidLossHook

__all__ = [
    'AtomicCheckpointHook',
    'DataHealthHook',
    'DrawPredictionsHook',
    'InvalidLossHook',
]
