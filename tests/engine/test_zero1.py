"""The state of the optimizer shared among ranks (ZeRO-1), really trained."""

import signal
from pathlib import Path

import pytest
import torch
from mmengine.config import Config
from mmengine.dist import get_rank
from mmengine.hooks import Hook
from mmengine.registry import HOOKS
from tiny_training import (
    latest,
    make_config,
    output,
    records,
    train,
    write_data,
)

SCHEDULES = Path(__file__).resolve().parents[2] / 'configs/_base_/schedules'


@HOOKS.register_module(force=True)
class RecordShare(Hook):
    """Write how many numbers of the optimizer's state a rank holds."""

    def __init__(self, path):
        self.path = path

    def after_train(self, runner):
        optimizer = runner.optim_wrapper.optimizer
        states = getattr(optimizer, 'optim', optimizer).state.values()
        held = sum(state['exp_avg'].numel() for state in states)
        Path(f'{self.path}{get_rank()}').write_text(str(held))


def config(root, name, **changes):
    cfg = make_config(
        root,
        name,
        **{
            'train_dataloader__batch_size': 2,
            'train_cfg__max_epochs': 2,
            **changes,
        },
    )
    share = str(root / f'{name}_share')
    cfg.custom_hooks.append(dict(type='RecordShare', path=share))
    return cfg


def shares(root, name):
    paths = [root / f'{name}_share{rank}' for rank in (0, 1)]
    return [int(path.read_text()) for path in paths]


@pytest.mark.slow
def test_sharded_equals_whole_and_goes_on(tiny_data):
    write_data(tiny_data)
    whole = config(tiny_data.root, 'whole')
    assert train(whole, ranks=2) == 0, output(whole)

    schedule = Config.fromfile(SCHEDULES / 'adamw_10e_zero1.py')
    kind = {
        key: schedule.optim_wrapper.optimizer[key]
        for key in ('type', 'optimizer_type')
    }
    sharded = config(tiny_data.root, 'sharded', optim_wrapper__optimizer=kind)
    assert sharded.optim_wrapper.optimizer.lr == 1e-3
    code = train(sharded, 7, ranks=2)
    assert code == -signal.SIGKILL, output(sharded)
    assert train(sharded, resume=True, ranks=2) == 0, output(sharded)

    losses = {each['iter']: each['loss'] for each in records(whole)}
    for each in records(sharded):
        found, expected = (
            float.fromhex(loss)
            for loss in (each['loss'], losses[each['iter']])
        )
        assert found == pytest.approx(expected, rel=1e-6)
    ends = latest(whole), latest(sharded)
    for name, weight in ends[0]['state_dict'].items():
        found = ends[1]['state_dict'][name]
        assert torch.allclose(found, weight, rtol=0, atol=1e-6), name
    # the checkpoint is that of a whole optimizer
    states = [end['optimizer']['state'] for end in ends]
    assert states[0].keys() == states[1].keys()
    for index, state in states[0].items():
        assert states[1][index]['step'] == state['step'] == 10
        assert torch.allclose(states[1][index]['exp_avg'], state['exp_avg'])
    everything, share = (
        shares(tiny_data.root, name) for name in ('whole', 'sharded')
    )
    assert everything[0] == everything[1] == sum(share)
    assert min(share) > 0

    # which one process takes as its own
    alone = config(tiny_data.root, 'sharded', train_cfg__max_epochs=3)
    assert train(alone, resume=True) == 0, output(alone)
    states = latest(alone)['optimizer']['state']
    assert {int(state['step']) for state in states.values()} == {20}
