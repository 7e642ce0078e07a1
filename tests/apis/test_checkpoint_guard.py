"""The guard within a real Runner."""

import itertools

import pytest
import torch
from mmengine.model import BaseModel
from mmengine.runner import Runner
from mmengine.runner.checkpoint import CheckpointLoader
from torch import nn

from harmoclip_mm.apis import (
    CheckpointError,
    CheckpointGuard,
    use_safe_loading,
)

_COUNT = itertools.count()


class Model(BaseModel):
    def __init__(self):
        super().__init__()
        self.fc = nn.Linear(2, 2)

    def forward(self, *args, **kwargs):
        raise NotImplementedError


def _runner(tmp_path, state_dict, strict, custom_hooks=None):
    path = str(tmp_path / 'weights.pth')
    torch.save({'state_dict': state_dict}, path)
    runner = Runner(
        Model(),
        work_dir=str(tmp_path),
        load_from=path,
        experiment_name=f'guard_{next(_COUNT)}',
        custom_hooks=custom_hooks,
    )
    runner.register_hook(CheckpointGuard(strict=strict))
    return runner


@pytest.fixture(autouse=True)
def safe_loading():
    schemes = dict(CheckpointLoader._schemes)
    use_safe_loading()
    yield
    CheckpointLoader._schemes = schemes


GOOD = {'fc.weight': torch.ones(2, 2), 'fc.bias': torch.zeros(2)}


@pytest.mark.parametrize('prefix', ['', 'module.'])
def test_a_fitting_checkpoint_is_loaded(tmp_path, prefix):
    state_dict = {prefix + key: value for key, value in GOOD.items()}
    runner = _runner(tmp_path, state_dict, strict=True)
    runner.call_hook('before_run')
    runner.load_or_resume()
    assert runner.model.fc.weight.eq(1).all()


def test_the_averaged_weights_hook_goes_first(tmp_path):
    hooks = [{'type': 'EMAHook'}]
    runner = _runner(tmp_path, GOOD, strict=True, custom_hooks=hooks)
    order = [type(hook).__name__ for hook in runner.hooks]
    assert order.index('EMAHook') < order.index('CheckpointGuard')
    runner.call_hook('before_run')
    runner.load_or_resume()
    assert runner.model.fc.weight.eq(1).all()


def test_strict_and_lenient(tmp_path):
    partly = {'fc.weight': torch.ones(2, 2), 'head.bias': torch.zeros(1)}
    with pytest.raises(CheckpointError, match=r'weights\.pth is of another'):
        _runner(tmp_path, partly, strict=True).load_or_resume()
    runner = _runner(tmp_path, partly, strict=False)
    runner.load_or_resume()
    assert runner.model.fc.weight.eq(1).all()
    with pytest.raises(CheckpointError, match='nothing in checkpoint'):
        _runner(
            tmp_path, {'visual.proj': torch.ones(2, 2)}, strict=False
        ).load_or_resume()
