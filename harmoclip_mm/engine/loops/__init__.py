"""Training loops."""

from .resumable_epoch_train_loop import ResumableEpochTrainLoop

__all__ = ['ResumableEpochTrainLoop']
