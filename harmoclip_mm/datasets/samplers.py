"""mmengine's samplers, with indices that carry their randomness, and with
weights of the data sets that are drawn from."""

from itertools import count, islice
from typing import Any, Iterator, Optional, Sequence, Tuple

import numpy as np
import torch
from mmengine.dataset import DefaultSampler, InfiniteSampler
from torch import Tensor

from harmoclip_mm.errors import UsageError
from harmoclip_mm.registry import DATA_SAMPLERS

from .seeding import SampleIndex


class Mixture:
    """The order in which a ``ConcatDataset`` is drawn from by weights.

    An epoch has as many samples as the data sets together, and each of them
    its share of these, whatever its size. A data set is gone through in one
    random order after the other, across epochs: none of its samples comes
    again before all have come.

    Args:
        dataset (ConcatDataset): The data sets.
        weights (Sequence[float]): Their weights in this order, above 0.

    Attributes:
        counts (List[int]): Samples that an epoch has of each.

    Raises:
        UsageError: If there is not one weight above 0 for each, or one of them
            is empty.
    """

    def __init__(self, dataset: Any, weights: Sequence[float]) -> None:
        self.sizes = [len(each) for each in getattr(dataset, 'datasets', ())]
        if len(weights) != len(self.sizes) or not all(
            number > 0 for number in (*weights, *self.sizes)
        ):
            raise UsageError(
                f'weights={list(weights)} of the sampler must be a number '
                f'above 0 for each of the {len(self.sizes)} data sets of a '
                'ConcatDataset, none of which is empty; the data are a '
                f'{type(dataset).__name__}'
            )
        total = sum(self.sizes)
        wanted = np.multiply(weights, total / sum(weights))
        self.counts = np.floor(wanted).astype(int).tolist()
        rest = total - sum(self.counts)
        for place in np.argsort(self.counts - wanted, kind='stable')[:rest]:
            self.counts[place] += 1

    def epoch(self, seed: int, epoch: int) -> Tuple[Tensor, Tensor]:
        """What an epoch draws, a function of seed and epoch.

        Returns:
            tuple[Tensor, Tensor]: Indices of the samples, (N,) int64, and
            which pass over its data set each of them belongs to.
        """
        indices, passes, before = [], [], 0
        for source, (size, number) in enumerate(zip(self.sizes, self.counts)):
            start, stop = epoch * number, (epoch + 1) * number
            for each in range(start // size, -(-stop // size)):
                order = _permutation(size, seed, 0, source, each)
                part = order[max(start - each * size, 0) : stop - each * size]
                indices.append(before + part)
                passes.append(torch.full_like(part, each))
            before += size
        mixed = _permutation(before, seed, 1, epoch)
        return torch.cat(indices)[mixed], torch.cat(passes)[mixed]


def _permutation(size: int, *key: int) -> Tensor:
    seed = np.random.SeedSequence(key).generate_state(1, np.uint64)[0]
    generator = torch.Generator().manual_seed(int(seed >> np.uint64(1)))
    return torch.randperm(size, generator=generator)


class _Weighted:
    """A sampler of mmengine that may draw from a :class:`Mixture`."""

    def __init__(
        self,
        *args: Any,
        weights: Optional[Sequence[float]] = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(*args, **kwargs)
        self.mixture: Optional[Mixture] = None
        if weights is not None:
            if not self.shuffle:
                raise UsageError(
                    'weights of a sampler draw at random: leave out '
                    'shuffle=False'
                )
            self.mixture = Mixture(self.dataset, weights)


@DATA_SAMPLERS.register_module()
class ResumableSampler(_Weighted, DefaultSampler):
    """mmengine's ``DefaultSampler``, able to start in mid-epoch.

    The order is the same function of seed and epoch. Each index is a
    :class:`SampleIndex` with the key (seed, epoch, index), which neither the
    number of processes nor that of workers changes. With ``weights`` the pass
    over its data set stands in place of the epoch.

    Args:
        *args: Arguments of mmengine's ``DefaultSampler``.
        weights (Sequence[float], optional): Weights of the data sets of a
            ``ConcatDataset``, see :class:`Mixture`. Defaults to None: each
            sample comes once an epoch.
        **kwargs: Keyword arguments of mmengine's ``DefaultSampler``.

    Raises:
        UsageError: If ``weights`` do not fit, or with ``shuffle=False``.
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
        if self.mixture is None:
            return (
                SampleIndex(index, (seed, epoch, index))
                for index in islice(super().__iter__(), start, None)
            )
        places = torch.arange(self.rank, self.total_size, self.world_size)
        places = places[start:] % len(self.dataset)
        return _keyed(
            seed, *(x[places] for x in self.mixture.epoch(seed, epoch))
        )


@DATA_SAMPLERS.register_module()
class ResumableInfiniteSampler(_Weighted, InfiniteSampler):
    """mmengine's ``InfiniteSampler`` for iteration-based training.

    The order is the same function of the seed. Each index is a
    :class:`SampleIndex` with the key (seed, pass over the data, index).
    ``IterBasedTrainLoop`` finds the position of a resumed training itself.

    Args:
        *args: Arguments of mmengine's ``InfiniteSampler``.
        weights (Sequence[float], optional): As of :class:`ResumableSampler`;
            its epochs follow one another.
        **kwargs: Keyword arguments of mmengine's ``InfiniteSampler``.

    Raises:
        UsageError: If ``weights`` do not fit, or with ``shuffle=False``.
    """

    def _infinite_indices(self) -> Iterator[SampleIndex]:
        if self.mixture is not None:
            for epoch in count():
                yield from _keyed(
                    self.seed, *self.mixture.epoch(self.seed, epoch)
                )
        for position, index in enumerate(super()._infinite_indices()):
            key = (self.seed, position // self.size, index)
            yield SampleIndex(index, key)


def _keyed(
    seed: int, indices: Tensor, passes: Tensor
) -> Iterator[SampleIndex]:
    """Python numbers a few at a time: 20 million at once take 700 MB."""
    for part in zip(indices.split(65536), passes.split(65536)):
        for index, each in zip(*(x.tolist() for x in part)):
            yield SampleIndex(index, (seed, each, index))
