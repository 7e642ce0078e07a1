"""Epochs that a resumed training enters where it left off."""

from itertools import islice
from typing import Iterable

from mmengine.runner import EpochBasedTrainLoop
from torch.utils.data import BatchSampler

from harmoclip_mm.registry import LOOPS

__all__ = ['ResumableEpochTrainLoop']


@LOOPS.register_module()
class ResumableEpochTrainLoop(EpochBasedTrainLoop):
    """mmengine's ``EpochBasedTrainLoop``, able to start in mid-epoch.

    ``ExactResumeHook`` sets where. With ``ResumableSampler`` the batches left
    out are not loaded; with another sampler they are, and thrown away.

    Args:
        *args: As for :class:`mmengine.runner.EpochBasedTrainLoop`.
        **kwargs: As for :class:`mmengine.runner.EpochBasedTrainLoop`.
    """

    def __init__(self, *args, **kwargs) -> None:
        super().__init__(*args, **kwargs)
        self.start_batch = 0  # of the next epoch

    def run_epoch(self) -> None:
        """Run one epoch, from ``start_batch`` on."""
        self.runner.call_hook('before_train_epoch')
        self.runner.model.train()
        start, self.start_batch = self.start_batch, 0
        for batch_idx, batch in enumerate(self._batches_from(start), start):
            self.run_iter(batch_idx, batch)
        self.runner.call_hook('after_train_epoch')
        self._epoch += 1

    def _batches_from(self, start: int) -> Iterable[dict]:
        if start == 0:
            return self.dataloader
        self.runner.logger.info(
            f'Epoch {self.epoch + 1} goes on at batch {start + 1} of '
            f'{len(self.dataloader)}'
        )
        batches = self.dataloader.batch_sampler
        if type(batches) is BatchSampler and hasattr(
            batches.sampler, 'start_at'
        ):
            batches.sampler.start_at(start * batches.batch_size)
            return self.dataloader
        self.runner.logger.warning(
            f'The first {start} batches of the epoch are loaded and thrown '
            'away. A train_dataloader with '
            "sampler=dict(type='ResumableSampler') and no batch_sampler "
            'saves that time.'
        )
        return islice(self.dataloader, start, None)
