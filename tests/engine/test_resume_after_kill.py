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


@pytest.mark.parametrize(
    ('changes', 'kills'),
    [
        # in mid-epoch, after a checkpoint of the second epoch
        pytest.param({}, [9], id='plain'),
        # the last iteration of an epoch was saved, its end was not reached
        pytest.param(
            dict(default_hooks__checkpoint__interval=5),
            [5, 11],
            id='epoch ends',
            marks=pytest.mark.slow,
        ),
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
            ACCUMULATE, [9, 11], id='accumulation', marks=pytest.mark.slow
        ),
        pytest.param(EPOCHS, [12], id='by epoch', marks=pytest.mark.slow),
        pytest.param(TEACHER, [9], id='teacher', marks=pytest.mark.slow),
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
    if changes is AMP:
        scaler = ends[0]['optimizer']['loss_scaler']
        assert scaler['scale'] > 3.0
