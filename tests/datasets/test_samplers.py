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
from harmoclip_mm.errors import UsageError

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


class Parts:
    """What a sampler knows of a ConcatDataset of 2, 5 and 40 samples."""

    datasets = range(2), range(5), range(40)

    def __len__(self):
        return 47


def sources(indices):
    return np.searchsorted([2, 7, 47], indices, side='right')


def test_an_epoch_has_the_share_of_each_data_set():
    sampler = ResumableSampler(Parts(), seed=4, weights=[1, 3, 6])
    # 47 / 10 is 4.7, 14.1, 28.2: the rest goes where most was cut off
    assert sampler.mixture.counts == [5, 14, 28] and len(sampler) == 47
    epochs = []
    for epoch in range(20):
        sampler.set_epoch(epoch)
        epochs.append(list(sampler))
        counts = np.bincount(sources(epochs[-1]))
        assert counts.tolist() == [5, 14, 28]
    assert epochs[0] != epochs[1]
    # mixed: half an epoch has about half of each
    assert (abs(np.bincount(sources(epochs[3][:24])) - [2.5, 7, 14]) < 5).all()
    drawn = np.concatenate(epochs)
    for source, (start, size) in enumerate(((0, 2), (2, 5), (7, 40))):
        own = drawn[sources(drawn) == source] - start
        # within passes over a data set, across epochs, each comes once; an
        # epoch is shuffled as a whole, which its counts do not see
        counts = np.bincount(own, minlength=size)
        assert counts.max() - counts.min() <= 1
    keys = [index.key for epoch in epochs for index in epoch]
    assert len(set(keys)) == len(keys)  # randomness that is its own
    assert all(key[2] == index for key, index in zip(keys, drawn))


def test_a_mixture_starts_late_and_is_shared_by_ranks(monkeypatch):
    weights = [1, 3, 6]
    sampler = ResumableSampler(Parts(), seed=4, weights=weights)
    sampler.set_epoch(2)
    whole = list(sampler)
    sampler.start_at(30)
    assert list(sampler) == whole[30:]
    infinite = ResumableInfiniteSampler(Parts(), seed=4, weights=weights)
    assert list(islice(infinite, 94, 141)) == whole
    parts = {ResumableSampler: [], ResumableInfiniteSampler: []}
    for sampler_type, found in parts.items():
        for rank in range(3):
            monkeypatch.setattr(
                'mmengine.dataset.sampler.get_dist_info', lambda r=rank: (r, 3)
            )
            sampler = sampler_type(Parts(), seed=4, weights=weights)
            sampler.set_epoch(2)
            found.append(list(islice(sampler, 48)))
    epoch = [i for three in zip(*parts[ResumableSampler]) for i in three]
    assert len(epoch) == 48  # padded by the first
    assert epoch == [*whole, whole[0]]
    assert [i.key for i in epoch[:47]] == [i.key for i in whole]
    rows = zip(*parts[ResumableInfiniteSampler])
    assert [i for three in rows for i in three][94:141] == whole


@pytest.mark.parametrize(
    'data, kwargs, words',
    [
        (Parts(), {'weights': [1, 2]}, r'each of the 3 data sets'),
        (Parts(), {'weights': [1, 2, 0]}, r'\[1, 2, 0\].*above 0'),
        (DATA, {'weights': [1]}, 'the data are a range'),
        (Parts(), {'weights': [1, 2, 3], 'shuffle': False}, 'shuffle=False'),
    ],
)
def test_weights_that_do_not_fit(data, kwargs, words):
    for sampler_type in (ResumableSampler, ResumableInfiniteSampler):
        with pytest.raises(UsageError, match=words):
            sampler_type(data, seed=4, **kwargs)


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
