"""What a resumed training says when it cannot be exact.

That it is exact otherwise is shown by ``test_resume_after_kill.py``.
"""

import logging

import pytest
import torch
from mmengine.dataset import (
    ClassBalancedDataset,
    ConcatDataset,
    RepeatDataset,
)
from mmengine.logging import MMLogger
from mmengine.model import BaseModel
from mmengine.runner import Runner
from torch.utils.data import BatchSampler, Dataset

from harmoclip_mm.datasets import SeededDataset
from harmoclip_mm.engine import ResumableEpochTrainLoop
from harmoclip_mm.errors import UsageError
from harmoclip_mm.models.checkpoints import load_weights_only


class Numbers(Dataset):
    """0, 1, 2, ..."""

    metainfo = {}

    def __init__(self, length):
        self.length = length

    def __len__(self):
        return self.length

    def __getitem__(self, index):
        return {'inputs': torch.tensor([float(index)]), 'data_samples': 0}

    def full_init(self):
        pass

    def itself(self):
        return self

    def get_cat_ids(self, index):
        return [index % 2]


def seeded(numbers):
    """What mmengine's wrappers take, other than data sets of mmengine."""
    return dict(type='SeededDataset', dataset=numbers)


class Balanced(ClassBalancedDataset):
    """mmengine's, with all samples once."""

    def __init__(self, dataset):
        super().__init__(dataset, oversample_thr=0.0)


class Mean(BaseModel):
    """A line through the origin, pulled down."""

    def __init__(self):
        super().__init__()
        self.weight = torch.nn.Parameter(torch.ones(1))

    def forward(self, inputs, data_samples, mode='loss'):
        return {'loss': (self.weight * torch.stack(inputs)).mean()}


def make_runner(folder, resume=None, seed=3, **changes):
    settings = dict(
        length=12,
        batch_size=2,
        sampler='ResumableSampler',
        loop='ResumableEpochTrainLoop',
        exact=True,
        by_epoch=False,
        accumulate=1,
        batch_sampler=None,
        mixed={},
        wrap=SeededDataset,
    )
    settings.update(changes)
    return Runner(
        model=Mean(),
        work_dir=str(folder),
        train_dataloader=dict(
            batch_size=settings['batch_size'],
            num_workers=0,
            sampler=dict(type=settings['sampler'], **settings['mixed']),
            batch_sampler=settings['batch_sampler'],
            dataset=settings['wrap'](Numbers(settings['length'])),
        ),
        train_cfg=dict(type=settings['loop'], max_epochs=1 + bool(resume)),
        optim_wrapper=dict(
            optimizer=dict(type='SGD', lr=0.01),
            accumulative_counts=settings['accumulate'],
        ),
        default_hooks=dict(
            checkpoint=dict(
                type='AtomicCheckpointHook',
                by_epoch=settings['by_epoch'],
                interval=1 if settings['by_epoch'] else 4,
            ),
            logger=None,
        ),
        custom_hooks=[dict(type='ExactResumeHook')] * settings['exact'],
        randomness=dict(seed=seed),
        default_scope='harmoclip_mm',
        experiment_name=f'{folder.name}_{len(list(folder.parent.iterdir()))}',
        resume=bool(resume),
        load_from=resume and str(resume),
    )


@pytest.fixture
def warned(monkeypatch):
    """The warnings that runners log."""
    found = []
    original = MMLogger.callHandlers

    def call_handlers(self, record):
        if record.levelno >= logging.WARNING:
            found.append(record.getMessage())
        original(self, record)

    monkeypatch.setattr(MMLogger, 'callHandlers', call_handlers)
    return found


@pytest.fixture
def begun(tmp_path, harmoclip_scope):
    """After 4 of 6 batches."""
    make_runner(tmp_path / 'first').train()
    return tmp_path / 'first' / 'iter_4.pth'


@pytest.mark.parametrize(
    ('changes', 'message'),
    [
        (dict(batch_size=3), 'global batch 2 then, 3 now'),
        (dict(length=14), 'data set size 12 then, 14 now'),
    ],
)
def test_other_batches_cannot_go_on_in_mid_epoch(begun, changes, message):
    folder = begun.parents[1] / 'second'
    with pytest.raises(UsageError, match=message) as error:
        make_runner(folder, begun, **changes).train()
    assert 'after 4 batches of its epoch' in str(error.value)
    assert 'checkpoint of the end of an epoch' in str(error.value)


def test_data_sets_of_other_sizes_cannot_go_on_in_mid_epoch(
    tmp_path, harmoclip_scope
):
    def mixed(*lengths):
        sets = [seeded(Numbers(length)) for length in lengths]
        wrap = dict(wrap=lambda _: ConcatDataset(sets))
        return dict(wrap, mixed=dict(weights=[1, 1]))

    make_runner(tmp_path / 'first', **mixed(4, 8)).train()
    begun = tmp_path / 'first' / 'iter_4.pth'
    make_runner(tmp_path / 'same', begun, **mixed(4, 8)).train()
    with pytest.raises(UsageError, match=r'\[4, 8\] then, \[8, 4\] now'):
        make_runner(tmp_path / 'other', begun, **mixed(8, 4)).train()


def test_other_batches_can_go_on_at_the_end_of_an_epoch(
    tmp_path, harmoclip_scope, warned
):
    make_runner(tmp_path / 'first', by_epoch=True).train()
    runner = make_runner(
        tmp_path / 'second',
        tmp_path / 'first' / 'epoch_1.pth',
        batch_size=3,
        by_epoch=True,
    )
    runner.train()
    assert runner.iter == 6 + 4
    assert any('global batch 2 then, 3 now' in text for text in warned)
    # the position in the third epoch does not depend on how long others were
    saved = load_weights_only(str(tmp_path / 'second' / 'epoch_2.pth'))
    assert saved['exact_resume']['batches'] == 0


@pytest.mark.parametrize(
    ('place', 'told'),
    [(4, 'Epoch 1 goes on at batch 5 of 6'), (6, 'Epoch 1 was complete')],
)
def test_the_log_tells_where_it_goes_on(begun, monkeypatch, place, told):
    folder = begun.parents[1] / 'second'
    runner = make_runner(folder, begun.with_name(f'iter_{place}.pth'))
    said = []
    monkeypatch.setattr(runner.logger, 'info', said.append)
    runner.train()
    assert runner.iter == 12
    assert told in said


def test_the_seed_is_that_of_the_checkpoint(begun, warned):
    runner = make_runner(begun.parents[1] / 'second', begun, seed=8)
    runner.train()
    assert runner.seed == 3
    assert runner.train_dataloader.sampler.seed == 3


class OwnBatches(BatchSampler):
    """A batch sampler of a user's own."""


def test_another_batch_sampler_loads_and_throws_away(
    tmp_path, harmoclip_scope
):
    make_runner(tmp_path / 'first').train()
    own = dict(batch_sampler=dict(type=OwnBatches, drop_last=False))
    runner = make_runner(
        tmp_path / 'second', tmp_path / 'first' / 'iter_4.pth', **own
    )
    runner.train()
    assert runner.iter == 12


@pytest.mark.parametrize(
    'wrong',
    [
        dict(sampler='DefaultSampler'),
        dict(loop='EpochBasedTrainLoop'),
        dict(wrap=Numbers.itself),
        # gives the plain index to the data set within
        dict(wrap=lambda numbers: Balanced(seeded(numbers))),
    ],
    ids=['sampler', 'loop', 'data set', 'wrapper'],
)
def test_parts_that_forget_their_place_are_refused_at_once(
    tmp_path, harmoclip_scope, wrong
):
    with pytest.raises(UsageError, match='runtime_exact') as error:
        make_runner(tmp_path / 'first', **wrong).train()
    name = next(iter(wrong.values()))
    if not isinstance(name, str):
        name = type(name(Numbers(12))).__name__
    assert f'with {name} a training' in str(error.value)


def test_they_are_refused_where_a_training_goes_on(begun):
    folder = begun.parents[1] / 'second'
    with pytest.raises(UsageError, match='with DefaultSampler a training'):
        make_runner(folder, begun, sampler='DefaultSampler').train()


@pytest.mark.parametrize(
    'wrap',
    [
        lambda numbers: SeededDataset(Balanced(dict(type=numbers.itself))),
        lambda numbers: ConcatDataset([seeded(numbers)]),
        lambda numbers: RepeatDataset(seeded(numbers), 1),
    ],
    ids=['balanced', 'concatenated', 'repeated'],
)
def test_wrappers_that_keep_the_seed_are_not(tmp_path, harmoclip_scope, wrap):
    runner = make_runner(tmp_path / 'first', wrap=wrap)
    runner.train()
    assert runner.iter == 6


def test_a_checkpoint_of_before_starts_its_epoch_anew(
    tmp_path, harmoclip_scope, warned
):
    make_runner(tmp_path / 'first', exact=False).train()
    runner = make_runner(
        tmp_path / 'second', tmp_path / 'first' / 'iter_4.pth'
    )
    runner.train()
    assert runner.iter == 4 + 6 + 6
    assert any('without ExactResumeHook: its epoch' in x for x in warned)


def test_pending_gradients_are_saved_only_between_steps(
    tmp_path, harmoclip_scope
):
    runner = make_runner(tmp_path / 'first', accumulate=3)
    runner.train()
    assert isinstance(runner.train_loop, ResumableEpochTrainLoop)
    pending, done = (
        load_weights_only(str(tmp_path / 'first' / f'iter_{n}.pth'))
        for n in (4, 6)
    )
    assert list(pending['exact_resume']['gradients']) == ['weight']
    assert 'gradients' not in done['exact_resume']
