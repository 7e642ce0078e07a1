import pickle
from types import SimpleNamespace

import pytest
from torch.utils.data import DataLoader

from harmoclip_mm.datasets.counters import (
    SharedCounters,
    collect_counters,
)


class Counting:
    """A data set that counts its accesses and every third index."""

    def __init__(self):
        self.counters = SharedCounters(seen='seen', third='thirds')

    def __len__(self):
        return 30

    def __getitem__(self, index):
        self.counters.add('seen')
        self.counters.add('third', index % 3 == 0)
        return index


def test_counts_of_workers_reach_the_main_process():
    # That this holds for spawned workers too is shown where a whole data set
    # is loaded, in test_region_phrase.py.
    dataset = Counting()
    dataset[0]
    loader = DataLoader(
        dataset,
        batch_size=4,
        num_workers=2,
        multiprocessing_context='fork',
    )
    for _ in range(2):
        indices = [i for batch in loader for i in batch.tolist()]
        assert sorted(indices) == [*range(30)]
    assert dataset.counters.totals() == {'seen': 61, 'third': 21}


def test_counters_survive_an_ordinary_pickle():
    counters = SharedCounters(a='things')
    counters.add('a', 3)
    copy = pickle.loads(pickle.dumps(counters))
    copy.add('a')
    assert copy.totals() == {'a': 4} and counters.totals() == {'a': 3}
    assert repr(copy) == "SharedCounters({'a': 4})"


def test_an_unknown_name_is_an_error():
    with pytest.raises(KeyError):
        SharedCounters(a='things').add('b')


def test_counters_are_found_in_wrappers_and_pipelines_once():
    shared = SharedCounters(a='things')
    other = SharedCounters(a='things', b='stuff')
    inner = SimpleNamespace(counters=other)
    dataset = SimpleNamespace(
        counters=shared,
        pipeline=SimpleNamespace(
            transforms=[inner, SimpleNamespace(transforms=[[inner]])]
        ),
    )
    wrapper = SimpleNamespace(
        datasets=[dataset, SimpleNamespace(dataset=dataset)]
    )
    shared.add('a', 2)
    other.add('a', 3)
    assert collect_counters(wrapper) == {'a': (5, 'things'), 'b': (0, 'stuff')}
    assert collect_counters(SimpleNamespace()) == {}
