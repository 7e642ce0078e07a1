"""An index and its key, and what is drawn from them."""

import pickle
import random

import numpy as np
import pytest
import torch
from mmengine.dataset import BaseDataset, ConcatDataset, RepeatDataset

from harmoclip_mm.datasets.seeding import (
    SampleIndex,
    seed_for_sample,
    seed_generators,
)


def draw():
    return random.random(), float(np.random.rand()), float(torch.rand(1))


def test_is_an_integer_and_keeps_its_key():
    index = SampleIndex(7, [1, 2, 7])
    assert index == 7
    assert [*range(9)][index] == 7
    for other in (pickle.loads(pickle.dumps(index)), index - 0, index % 9):
        assert type(other) is SampleIndex
        assert other == 7
        assert other.key == (1, 2, 7)
    assert index - 5 == 2
    assert index % 4 == 3


class Keys(BaseDataset):
    """A data set that gives index and key."""

    def load_data_list(self):
        return [{}] * 3

    def __getitem__(self, index):
        return int(index), index.key


def test_wrappers_pass_the_key_on():
    index = SampleIndex(5, (0, 0, 5))
    wrapped = ConcatDataset([Keys(), Keys()])
    assert wrapped[index] == (2, (0, 0, 5))
    # the second visit of an epoch has a key of its own
    assert RepeatDataset(Keys(), 2)[index] == (2, (0, 0, 5))


def test_all_three_generators_are_functions_of_the_key():
    seed_generators((3, 1, 4))
    first = draw()
    assert draw() != first
    seed_for_sample(SampleIndex(0, (3, 1, 4)))
    assert draw() == first
    others = []
    for key in ((3, 1, 5), (3, 2, 4), (4, 1, 4), (1, 3, 4)):
        seed_generators(key, devices=True)
        others.append(draw())
    for column in zip(first, *others):
        assert len(set(column)) == 5


def test_a_plain_index_seeds_nothing():
    torch.manual_seed(0)
    expected = draw()[2]
    torch.manual_seed(0)
    seed_for_sample(3)
    assert draw()[2] == expected


def test_a_negative_seed_is_refused():
    with pytest.raises(ValueError, match='non-negative'):
        seed_generators((-1, 0))
