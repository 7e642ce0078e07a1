"""Order, position and randomness of the samplers."""

from itertools import islice

import numpy as np
import pytest
from mmengine.dataset import DefaultSampler, InfiniteSampler
from mmengine.runner import Runner

from harmoclip_mm.datasets import (
    ResumableInfiniteSampler,
    ResumableSampler,
    SeededDataset,
)
from harmoclip_mm.datasets.seeding import SampleIndex, seed_for_sample

DATA = range(11)


@pytest.mark.parametrize('shuffle', [True, False])
def test_the_order_is_that_of_mmengine(shuffle):
    ours = ResumableSampler(DATA, shuffle=shuffle, seed=4)
    theirs = DefaultSampler(DATA, shuffle=shuffle, seed=4)
    for epoch in (0, 3):
        ours.set_epoch(epoch)
        theirs.set_epoch(epoch)
        indices = list(ours)
        assert indices == list(theirs)
        assert [i.key for i in indices] == [(4, epoch, i) for i in indices]


def test_one_pass_starts_later():
    sampler = ResumableSampler(DATA, seed=4)
    whole = list(sampler)
    sampler.start_at(8)
    assert len(sampler) == 11  # an epoch keeps its length
    assert list(sampler) == whole[8:]
    assert list(sampler) == whole


def test_ranks_share_the_keys(monkeypatch):
    whole = list(ResumableSampler(DATA, seed=4))
    for sampler_type in (ResumableSampler, ResumableInfiniteSampler):
        parts = []
        for rank in range(2):
            monkeypatch.setattr(
                'mmengine.dataset.sampler.get_dist_info', lambda r=rank: (r, 2)
            )
            parts.append(list(islice(sampler_type(DATA, seed=4), 5)))
        merged = [index for pair in zip(*parts) for index in pair]
        assert merged == whole[:10]
        assert [i.key for i in merged] == [i.key for i in whole[:10]]


def test_the_infinite_order_is_that_of_mmengine_and_passes_differ():
    ours = list(islice(ResumableInfiniteSampler(DATA, seed=4), 33))
    assert ours == list(islice(InfiniteSampler(DATA, seed=4), 33))
    assert [i.key[1] for i in ours] == [0] * 11 + [1] * 11 + [2] * 11
    assert len({i.key for i in ours}) == 33


class Draws:
    """A data set of another library, which knows nothing of keys."""

    metainfo = {'classes': ('cat',)}

    def __len__(self):
        return 12

    def __getitem__(self, index):
        return int(index), float(np.random.rand())


@pytest.mark.parametrize('num_workers', [0, 2])
def test_workers_change_nothing(num_workers, harmoclip_scope):
    loader = Runner.build_dataloader(
        dict(
            batch_size=2,
            num_workers=num_workers,
            persistent_workers=num_workers > 0,
            sampler=dict(type='ResumableSampler', shuffle=True),
            dataset=SeededDataset(Draws()),
        ),
        seed=3,
    )
    assert loader.dataset.metainfo == {'classes': ('cat',)}
    epochs = []
    for epoch in range(2):
        loader.sampler.set_epoch(epoch)
        epochs.append({int(i): x for b in loader for i, x in zip(*b)})
    for epoch, drawn in enumerate(epochs):
        assert sorted(drawn) == list(range(12))
        for index, number in drawn.items():
            seed_for_sample(SampleIndex(index, (3, epoch, index)))
            assert number == np.random.rand()
    assert not set(epochs[0].values()) & set(epochs[1].values())
