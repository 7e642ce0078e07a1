"""Trainings that are killed, and go on as if nothing had happened."""

import signal

import pytest
import torch
from tiny_training import (
    assert_equal,
    latest,
    make_config,
    output,
    records,
    train,
    write_data,
)

STATE = ('state_dict', 'ema_state_dict', 'optimizer', 'param_schedulers')
AMP = dict(optim_wrapper__type='CPUAmpOptimWrapper')
ACCUMULATE = dict(optim_wrapper__accumulative_counts=3)
INFINITE = dict(
    train_cfg=dict(type='IterBasedTrainLoop', max_iters=15, _delete_=True),
    train_dataloader__sampler__type='ResumableInfiniteSampler',
)
# The heads of RegionCLIP and CLIPSelf, which keep a copy of the start.
TEACHER = dict(
    model__crop_extractor=dict(type='CropFeatureExtractor'),
    model__heads=dict(
        _delete_=True,
        gc=dict(type='GlobalContrastiveHead'),
        gr=dict(
            type='RegionAlignmentHead', mode='crop', crop_encoder='teacher'
        ),
        kd=dict(type='ConceptDistillationHead'),
    ),
)
EPOCHS = dict(
    default_hooks__checkpoint__by_epoch=True,
    default_hooks__checkpoint__interval=1,
)
# Rates that change with the epoch, not with the iteration.
STEPS = dict(
    param_scheduler=[
        dict(type='LinearLR', start_factor=0.1, by_epoch=False, end=3),
        dict(type='MultiStepLR', milestones=[1, 2], gamma=0.3, by_epoch=True),
    ]
)


@pytest.mark.parametrize(
    ('changes', 'kills'),
    [
        # in mid-epoch, after a checkpoint of the second epoch
        pytest.param({}, [9], id='plain'),
        pytest.param(
            AMP,
            [7, 13],
            id='amp',
            marks=[
                pytest.mark.slow,
                pytest.mark.skipif(
                    not hasattr(torch.amp, 'GradScaler'),
                    reason='torch < 2.3 scales on GPUs only',
                ),
            ],
        ),
        pytest.param(
            dict(TEACHER, **ACCUMULATE),
            [9, 11],
            id='teacher and accumulation',
            marks=pytest.mark.slow,
        ),
        pytest.param(EPOCHS, [12], id='by epoch', marks=pytest.mark.slow),
        pytest.param(INFINITE, [9], id='iterations', marks=pytest.mark.slow),
    ],
)
def test_a_killed_training_equals_an_uninterrupted_one(
    tiny_data, changes, kills
):
    write_data(tiny_data)
    straight = make_config(tiny_data.root, 'straight', **changes)
    assert train(straight) == 0, output(straight)
    # other workers: the same training nevertheless
    killed = make_config(
        tiny_data.root,
        'killed',
        train_dataloader__num_workers=0,
        train_dataloader__persistent_workers=False,
        **changes,
    )
    for resume, kill_at in enumerate(kills):
        code = train(killed, kill_at, resume=bool(resume))
        assert code == -signal.SIGKILL, output(killed)
    killed.train_dataloader.update(num_workers=1)
    assert train(killed, resume=True) == 0, output(killed)
    assert 'thrown away' not in output(killed)

    assert_same_training(straight, killed)
    if changes is AMP:
        scaler = latest(straight)['optimizer']['loss_scaler']
        assert scaler['scale'] > 3.0


def assert_same_training(straight, killed):
    """Losses of all iterations, and all that the checkpoints hold."""
    expected = {record['iter']: record for record in records(straight)}
    found = records(killed)
    assert list(expected) == list(range(15))
    assert len({record['loss'] for record in expected.values()}) == 15
    assert {record['iter'] for record in found} == set(expected)
    assert len(found) > len(expected)  # some iterations were lost, and redone
    for record in found:
        assert record == expected[record['iter']]
    ends = latest(straight), latest(killed)
    for key in STATE:
        assert_equal(ends[0][key], ends[1][key], key)


@pytest.mark.slow
@pytest.mark.parametrize('interval', [2, 5])
def test_killed_with_workers_under_rates_by_epoch(tiny_data, interval):
    """In mid-epoch, and after the last iteration of an epoch was saved, but
    its end was not reached."""
    write_data(tiny_data)
    changes = dict(STEPS, default_hooks__checkpoint__interval=interval)
    straight = make_config(tiny_data.root, 'straight', **changes)
    assert train(straight) == 0, output(straight)
    killed = make_config(tiny_data.root, 'killed', **changes)
    assert killed.train_dataloader.num_workers == 2
    for resume, kill_at in enumerate([5, 14]):
        code = train(killed, kill_at, resume=bool(resume))
        assert code == -signal.SIGKILL, output(killed)
    assert train(killed, resume=True) == 0, output(killed)
    assert_same_training(straight, killed)
    (group,) = latest(killed)['optimizer']['param_groups']
    assert group['lr'] == pytest.approx(1e-3 * 0.3**2)


@pytest.mark.slow
def test_two_killed_processes_equal_two_uninterrupted_ones(tiny_data):
    write_data(tiny_data)
    changes = dict(train_dataloader__batch_size=2)
    straight = make_config(tiny_data.root, 'straight', **changes)
    assert train(straight, ranks=2) == 0, output(straight)
    killed = make_config(tiny_data.root, 'killed', **changes)
    assert train(killed, 9, ranks=2) == -signal.SIGKILL, output(killed)
    assert train(killed, resume=True, ranks=2) == 0, output(killed)
    assert_same_training(straight, killed)
