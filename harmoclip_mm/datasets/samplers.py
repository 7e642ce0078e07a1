"""mmengine's samplers, with indices that carry their randomness."""

from itertools import islice
from typing import Iterator

from mmengine.dataset import DefaultSampler, InfiniteSampler

from harmoclip_mm.registry import DATA_SAMPLERS

from .seeding import SampleIndex

__all__ = ['ResumableInfiniteSampler', 'ResumableSampler']


@DATA_SAMPLERS.register_module()
class ResumableSampler(DefaultSampler):
    """mmengine's ``DefaultSampler``, able to start in mid-epoch.

    The order is the same function of seed and epoch. Each index is a
    :class:`SampleIndex` with the key (seed, epoch, index), which neither the
    number of processes nor that of workers changes.
    """

    _start = 0

    def start_at(self, num_samples: int) -> None:
        """Leave out the first samples of the next pass, without loading them.

        Args:
            num_samples (int): How many samples of this rank to leave out.
        """
        self._start = num_samples

    def __iter__(self) -> Iterator[SampleIndex]:
        start, self._start = self._start, 0
        seed, epoch = self.seed, self.epoch
        return (
            SampleIndex(index, (seed, epoch, index))
            for index in islice(super().__iter__(), start, None)
        )


@DATA_SAMPLERS.register_module()
class ResumableInfiniteSampler(InfiniteSampler):
    """mmengine's ``InfiniteSampler`` for iteration-based training.

    The order is the same function of the seed. Each index is a
    :class:`SampleIndex` with the key (seed, pass over the data, index).
    ``IterBasedTrainLoop`` finds the position of a resumed training itself.
    """

    def _infinite_indices(self) -> Iterator[SampleIndex]:
        for position, index in enumerate(super()._infinite_indices()):
            key = (self.seed, position // self.size, index)
            yield SampleIndex(index, key)
