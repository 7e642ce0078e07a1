"""Epochs that a resumed training enters where it left off."""

from itertools import islice

from mmengine.runner import EpochBasedTrainLoop
from torch.utils.data import BatchSampler

from harmoclip_mm.registry import LOOPS

__all__ = ['ResumableEpochTrainLoop']


@LOOPS.register_module()
class ResumableEpochTrainLoop(EpochBasedTrainLoop):
    """mmengine's ``EpochBasedTrainLoop``, able to start in mid-epoch.

    ``ExactResumeHook`` sets where. Batches left out are not loaded, unless a
    ``batch_sampler`` other than torch's makes them: then they are loaded and
    thrown away.

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
        batches, batch_sampler = self.dataloader, self.dataloader.batch_sampler
        if start:
            self.runner.logger.info(
                f'Epoch {self.epoch + 1} goes on at batch {start + 1} of '
                f'{len(self.dataloader)}'
            )
            if type(batch_sampler) is BatchSampler:
                batch_sampler.sampler.start_at(
                    start * batch_sampler.batch_size
                )
            else:
                batches = islice(batches, start, None)
        for batch_idx, batch in enumerate(batches, start):
            self.run_iter(batch_idx, batch)
        self.runner.call_hook('after_train_epoch')
        self._epoch += 1
