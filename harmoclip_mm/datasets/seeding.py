"""Randomness of a sample as a function of seed, epoch and index alone.

Generators that run on from sample to sample depend on how many workers there
are, which of them loads what, and where a training was started. Here each
sample starts them anew from a key that its index carries into the worker;
persistent workers learn of a new epoch in no other way. Only the samplers of
:mod:`harmoclip_mm.datasets.samplers` give such indices: with any other,
nothing is seeded.
"""

import random
from typing import Any, Sequence, Tuple

import numpy as np
import torch
from torch.utils.data import Dataset

from harmoclip_mm.registry import DATASETS


class SampleIndex(int):
    """Index of a sample that carries the key of its randomness.

    mmengine's ``ConcatDataset`` and ``RepeatDataset`` subtract from an index
    or take its remainder: the result keeps the key.

    Args:
        index (int): Index into the data set.
        key (Sequence[int]): What the randomness of this visit depends on,
            each at least 0: seed, epoch and index of the data set as a whole.
    """

    key: Tuple[int, ...]

    def __new__(cls, index: int, key: Sequence[int] = ()) -> 'SampleIndex':
        self = super().__new__(cls, index)
        self.key = tuple(key)  # which a pickle keeps, as any attribute
        return self

    def __sub__(self, other: int) -> 'SampleIndex':
        return SampleIndex(int(self) - int(other), self.key)

    def __mod__(self, other: int) -> 'SampleIndex':
        return SampleIndex(int(self) % int(other), self.key)


@DATASETS.register_module()
class SeededDataset(Dataset):
    """Make the randomness of each sample a function of seed, epoch and index.

    For data sets of mmdet and other libraries; ours do so themselves. All
    but the loading of samples is left to the data set itself.

    Args:
        dataset (dict or Dataset): The data set or its config.
    """

    def __init__(self, dataset: Any) -> None:
        if isinstance(dataset, dict):
            dataset = DATASETS.build(dataset)
        self.dataset = dataset

    def __len__(self) -> int:
        return len(self.dataset)

    def __getitem__(self, index: int) -> Any:
        seed_for_sample(index)
        return self.dataset[index]

    def __getattr__(self, name: str) -> Any:
        # dunder names and `dataset` are asked for before there is a data set,
        # while a worker unpickles this one
        if name == 'dataset' or name.startswith('__'):
            raise AttributeError(name)
        return getattr(self.dataset, name)


def seed_for_sample(index: int) -> None:
    """Seed the generators for one sample.

    They are not restored: to keep NumPy's state takes longer than to load a
    small image. ``ExactResumeHook`` seeds the main process anew for each
    iteration, so a data set without workers does not disturb the model.

    Args:
        index (int): Index of the sample. One that is no
            :class:`SampleIndex` changes nothing.
    """
    key = getattr(index, 'key', None)
    if key is not None:
        seed_generators(key)


def seed_generators(key: Sequence[int], devices: bool = False) -> None:
    """Seed the generators of ``random``, NumPy and torch.

    Args:
        key (Sequence[int]): Integers, each at least 0.
        devices (bool): Whether to seed torch's generators of all devices, and
            not only that of the CPU. Defaults to False.
    """
    words = np.random.SeedSequence(key).generate_state(3).tolist()
    random.seed(words[0])
    np.random.seed(words[1])
    if devices:
        torch.manual_seed(words[2])
    else:
        # manual_seed would queue a call for each sample where CUDA is not
        # initialised
        torch.default_generator.manual_seed(words[2])
