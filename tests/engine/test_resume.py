"""Which checkpoint a training goes on from."""

import os
import shutil

import pytest
import torch
from mmengine.config import Config
from mmengine.logging import MMLogger
from mmengine.model import BaseModel
from mmengine.runner import Runner

from harmoclip_mm.engine import CheckpointGuard
from harmoclip_mm.engine.resume import find_latest_checkpoint, setup_resume
from harmoclip_mm.errors import CheckpointError, UsageError


@pytest.fixture
def folder(tmp_path):
    """Three checkpoints a second apart; the last file is the best one, which
    has no optimizer."""
    for number in (1, 2):
        write(tmp_path / f'epoch_{number}.pth', number)
    write(tmp_path / 'best_epoch_2.pth', 3, optimizer=False)
    (tmp_path / 'last_checkpoint').write_text(str(tmp_path / 'epoch_2.pth'))
    return tmp_path


def write(path, second, optimizer=True):
    content = {'state_dict': {'w': torch.zeros(500)}, 'meta': {}}
    if optimizer:
        content['optimizer'] = {}
    torch.save(content, path)
    os.utime(path, (second, second))


def cut(path):
    os.truncate(path, path.stat().st_size // 2)


def test_the_file_last_checkpoint_is_believed(folder):
    (folder / 'last_checkpoint').write_text(str(folder / 'epoch_1.pth'))
    assert find_latest_checkpoint(str(folder)) == str(folder / 'epoch_1.pth')


@pytest.mark.parametrize('name', ['', 'epo', None])
def test_without_it_the_newest_with_an_optimizer_is_taken(folder, name):
    if name is None:
        (folder / 'last_checkpoint').unlink()
    else:
        (folder / 'last_checkpoint').write_text(name)
    assert find_latest_checkpoint(str(folder)) == str(folder / 'epoch_2.pth')


def test_a_half_written_file_is_passed_over(folder, caplog):
    cut(folder / 'epoch_2.pth')
    assert find_latest_checkpoint(str(folder)) == str(folder / 'epoch_1.pth')
    cut(folder / 'epoch_1.pth')
    with pytest.raises(UsageError) as error:
        find_latest_checkpoint(str(folder))
    assert 'epoch_1.pth' in str(error.value)
    assert 'epoch_2.pth' in str(error.value)


def test_a_folder_may_be_moved(folder, tmp_path_factory):
    moved = tmp_path_factory.mktemp('new') / 'moved'
    shutil.move(str(folder), str(moved))
    assert find_latest_checkpoint(str(moved)) == str(moved / 'epoch_2.pth')


def test_the_config_is_set(folder):
    cfg = Config(dict(work_dir=str(folder), load_from='clip.pt'))
    setup_resume(cfg)
    assert cfg.resume is True
    assert cfg.load_from == str(folder / 'epoch_2.pth')
    first = str(folder / 'epoch_1.pth')
    setup_resume(cfg, first)
    assert cfg.load_from == first
    with pytest.raises(UsageError, match=r'no\.pth to resume from does not'):
        setup_resume(cfg, 'no.pth')


def test_with_nothing_to_resume_the_training_begins_as_configured(tmp_path):
    """A job that always says --resume starts from its CLIP the first time."""
    cfg = Config(dict(work_dir=str(tmp_path / 'new'), load_from='clip.pt'))
    setup_resume(cfg)
    assert cfg.resume is False
    assert cfg.load_from == 'clip.pt'


class Line(BaseModel):
    """A loss that falls along a line."""

    def __init__(self):
        super().__init__()
        self.weight = torch.nn.Parameter(torch.ones(1))

    def forward(self, inputs, data_samples=None, mode='loss'):
        return {'loss': self.weight.sum()}


def train(folder, epochs, resume=None, lr=0.1, momentum=0.0, step=2):
    runner = Runner(
        model=Line(),
        work_dir=str(folder),
        train_dataloader=dict(
            batch_size=2,
            num_workers=0,
            sampler=dict(type='DefaultSampler'),
            dataset=[{'inputs': torch.ones(1)}] * 4,
        ),
        train_cfg=dict(type='EpochBasedTrainLoop', max_epochs=epochs),
        optim_wrapper=dict(
            optimizer=dict(type='SGD', lr=lr, momentum=momentum)
        ),
        param_scheduler=[dict(type='StepLR', step_size=step)],
        default_hooks=dict(logger=None),
        experiment_name=f'{folder.name}_{len(list(folder.parent.iterdir()))}',
        resume=bool(resume),
        load_from=resume,
    )
    runner.register_hook(CheckpointGuard())
    runner.train()
    return runner


@pytest.mark.parametrize(
    ('changes', 'named'),
    [
        (dict(), []),
        (dict(lr=0.01), ['lr 0.1, not 0.01']),
        (
            dict(momentum=0.9, step=7),
            ['StepLR.step_size 2, not 7', 'momentum 0.0, not 0.9'],
        ),
    ],
    ids=['same', 'lr', 'others'],
)
def test_settings_that_stay_the_old_ones_are_named(
    tmp_path, monkeypatch, changes, named
):
    found = []
    original = MMLogger.callHandlers

    def call_handlers(self, record):
        found.append(record.getMessage())
        original(self, record)

    train(tmp_path / 'first', 4)  # the rate has fallen to 0.01 by epoch 3
    monkeypatch.setattr(MMLogger, 'callHandlers', call_handlers)
    resume = str(tmp_path / 'first' / 'epoch_3.pth')
    runner = train(tmp_path / 'second', 4, resume, **changes)
    (group,) = runner.optim_wrapper.optimizer.param_groups
    assert group['initial_lr'] == 0.1
    lines = [text for text in found if 'goes on with the settings' in text]
    assert len(lines) == bool(named)
    assert all('; '.join(named) in line for line in lines)


@pytest.mark.parametrize('kept', [('state_dict',), ('state_dict', 'meta')])
def test_what_has_no_optimizer_is_refused(tmp_path, kept):
    """A CLIP, or the checkpoint of the best score: mmengine would end in a
    KeyError, or begin the schedules anew at the old iteration."""
    train(tmp_path / 'first', 1)
    whole = torch.load(tmp_path / 'first' / 'epoch_1.pth', weights_only=False)
    torch.save({name: whole[name] for name in kept}, tmp_path / 'some.pth')
    with pytest.raises(CheckpointError, match=r'some\.pth.* by load_from'):
        train(tmp_path / 'second', 2, str(tmp_path / 'some.pth'))
