import os
import pickle

import numpy as np
import pytest
import torch
from mmengine.logging import HistoryBuffer, MessageHub
from mmengine.optim import scheduler
from torch import nn

from harmoclip_mm import unpickling
from harmoclip_mm.engine.checkpoint_guard import load_checkpoint_file
from harmoclip_mm.errors import CheckpointError
from harmoclip_mm.models.checkpoints import (
    load_matching,
    load_weights_only,
)


class _Attack:
    """Unpickled in full, makes a file."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return os.mkdir, (str(self.path),)


SCHEDULES = dict(
    ConstantLR={},
    CosineAnnealingLR=dict(T_max=5),
    CosineRestartLR=dict(periods=[2, 3], restart_weights=[1, 0.5], eta_min=0),
    ExponentialLR=dict(gamma=0.9),
    LinearLR={},
    MultiStepLR=dict(milestones=[1, 3, 3]),
    OneCycleLR=dict(eta_max=0.2, total_steps=5),
    PolyLR={},
    ReduceOnPlateauLR=dict(monitor='loss'),
    StepLR=dict(step_size=2),
)


@pytest.mark.parametrize('name', SCHEDULES)
def test_schedules_are_read_by_names_of_our_own(tmp_path, name):
    """As before torch 2.6, where none can be added to torch's list."""
    optimizer = torch.optim.SGD(nn.Linear(2, 1).parameters(), lr=0.1)
    state = getattr(scheduler, name)(optimizer, **SCHEDULES[name]).state_dict()
    torch.save(state, tmp_path / 'state.pth')
    found = torch.load(
        tmp_path / 'state.pth', weights_only=False, pickle_module=unpickling
    )
    assert found == state


def test_a_checkpoint_of_the_runner(tmp_path, road):
    hub = MessageHub.get_instance('test_checkpoint')
    hub.update_scalar('train/loss', 0.25)
    hub.update_info('array', np.arange(3, dtype=np.float32))
    checkpoint = {
        'meta': {
            'epoch': 1,
            'dataset_meta': {'classes': ('a', 'b'), 'n': np.int64(2)},
        },
        'state_dict': nn.Linear(2, 1).state_dict(),
        'message_hub': hub.state_dict(),
    }
    path = str(tmp_path / 'epoch_1.pth')
    torch.save(checkpoint, path)
    loaded = load_checkpoint_file(path)
    assert loaded['meta']['dataset_meta'] == {'classes': ('a', 'b'), 'n': 2}
    torch.testing.assert_close(
        loaded['state_dict'], checkpoint['state_dict'], rtol=0, atol=0
    )
    buffer = loaded['message_hub']['log_scalars']['train/loss']
    assert buffer.current() == 0.25
    array = loaded['message_hub']['runtime_info']['array']
    np.testing.assert_array_equal(array, [0, 1, 2])


def test_code_of_a_file_is_never_run(tmp_path, road):
    path = str(tmp_path / 'bad.pth')
    torch.save({'state_dict': {}, 'x': _Attack(tmp_path / 'made')}, path)
    with pytest.raises(CheckpointError, match=r'bad\.pth.*mkdir.*if you trus'):
        load_checkpoint_file(path)
    assert not (tmp_path / 'made').exists()


def test_getattr_serves_log_buffers_alone(tmp_path, road):

    class Getattr:
        def __init__(self, *args):
            self.args = args

        def __reduce__(self):
            return getattr, self.args

    path = str(tmp_path / 'getattr.pth')
    for owner, name in ((np.ndarray, 'tofile'), (HistoryBuffer, '__init__')):
        torch.save({'x': Getattr(owner, name)}, path)
        with pytest.raises(CheckpointError, match='more than weights'):
            load_checkpoint_file(path)
    torch.save({'x': Getattr(HistoryBuffer, 'mean')}, path)
    assert load_weights_only(path) == {'x': HistoryBuffer.mean}


@pytest.mark.parametrize('keep', [0, 100, 2000])
def test_a_damaged_file(tmp_path, keep):
    path = tmp_path / 'cut.pth'
    torch.save(nn.Linear(64, 64).state_dict(), path)
    path.write_bytes(path.read_bytes()[:keep])
    with pytest.raises(CheckpointError, match=r'cut\.pth'):
        load_checkpoint_file(str(path))


def test_a_missing_file():
    with pytest.raises(CheckpointError, match=r'nowhere\.pth does not exist'):
        load_checkpoint_file('nowhere.pth')


def test_a_pickle_that_is_no_checkpoint(tmp_path):
    path = tmp_path / 'other.pth'
    path.write_bytes(pickle.dumps(['not', 'a', 'checkpoint']))
    with pytest.raises(CheckpointError, match=r'other\.pth'):
        load_checkpoint_file(str(path))


def test_what_does_not_fit_is_named():
    model = nn.Sequential(nn.Linear(2, 3), nn.BatchNorm1d(3))
    state_dict = model.state_dict()
    state_dict.pop('1.num_batches_tracked')  # old files lack it
    load_matching(model, state_dict, 'good.pth')

    lacking = {k: v for k, v in state_dict.items() if k != '0.bias'}
    lacking['head.bias'] = torch.zeros(1)
    with pytest.raises(CheckpointError) as error:
        load_matching(model, lacking, 'x.pth')
    text = str(error.value)
    assert 'x.pth is of another model' in text
    assert '1 weights are missing (0.bias)' in text
    assert '1 weights are left over (head.bias)' in text

    lacking['0.weight'] = torch.zeros(3, 5)
    with pytest.raises(CheckpointError, match=r'size mismatch for 0\.weight'):
        load_matching(model, lacking, 'x.pth')


def test_long_lists_are_cut():
    model = nn.Sequential(*(nn.Linear(1, 1) for _ in range(20)))
    with pytest.raises(
        CheckpointError, match='40 weights are missing'
    ) as error:
        load_matching(model, {}, 'x.pth')
    assert str(error.value).endswith(' ...).')


def test_hooks_of_the_model_may_make_it_fit():
    # position embeddings of another input size are resized on loading
    from mmpretrain.models import VisionTransformer

    arch = {
        'embed_dims': 8,
        'num_layers': 1,
        'num_heads': 2,
        'feedforward_channels': 16,
    }
    small = VisionTransformer(arch, img_size=32, patch_size=16)
    large = VisionTransformer(arch, img_size=64, patch_size=16)
    assert small.pos_embed.shape != large.pos_embed.shape
    load_matching(large, small.state_dict(), 'small.pth')
    torch.testing.assert_close(
        large.pos_embed[:, :1], small.pos_embed[:, :1], rtol=0, atol=0
    )
