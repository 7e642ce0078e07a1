"""Checkpoints under kills, full disks and changes of the best one."""

import errno
import multiprocessing
import os
import resource
import signal
import sys
import time
import uuid
from pathlib import Path

import pytest
import torch
from mmengine.evaluator import BaseMetric
from mmengine.hooks import Hook
from mmengine.model import BaseModel
from mmengine.runner import Runner
from torch.utils.data import Dataset

from harmoclip_mm.engine.resume import find_latest_checkpoint
from harmoclip_mm.errors import run_command
from harmoclip_mm.models.checkpoints import load_weights_only


class Ones(Dataset):
    metainfo = {}

    def __len__(self):
        return 4

    def __getitem__(self, index):
        return {'inputs': torch.ones(1), 'data_samples': index}


class Line(BaseModel):
    """A loss that falls along a line, and `size` weights as ballast."""

    def __init__(self, size):
        super().__init__()
        self.weight = torch.nn.Parameter(torch.ones(size))

    def forward(self, inputs, data_samples, mode='loss'):
        if mode == 'loss':
            return {'loss': self.weight.mean()}
        return [{}] * len(inputs)


class Scores(BaseMetric):
    """A metric with the results of a script."""

    def __init__(self, *scores):
        super().__init__()
        self.scores = list(scores)

    def process(self, data_batch, data_samples):
        self.results.append(1)

    def compute_metrics(self, results):
        return {'acc': self.scores.pop(0)}


def make_runner(work_dir, epochs, size=1, scores=(), hooks=(), **checkpoint):
    loader = dict(
        batch_size=2, num_workers=0, sampler=dict(type='DefaultSampler')
    )
    val = {}
    if scores:
        val = dict(
            val_dataloader=dict(loader, dataset=Ones()),
            val_cfg=dict(),
            val_evaluator=[Scores(*scores)],
        )
    return Runner(
        model=Line(size),
        work_dir=str(work_dir),
        train_dataloader=dict(loader, dataset=Ones()),
        train_cfg=dict(type='EpochBasedTrainLoop', max_epochs=epochs),
        optim_wrapper=dict(optimizer=dict(type='SGD', lr=0.1)),
        default_hooks=dict(
            checkpoint=dict(
                type='AtomicCheckpointHook', interval=1, **checkpoint
            ),
            logger=None,
        ),
        custom_hooks=list(hooks),
        default_scope='harmoclip_mm',
        # mmengine's message hub is found by this name and the second: two
        # trainings of one second would share their best score
        experiment_name=uuid.uuid4().hex,
        **val,
    )


@pytest.mark.parametrize('best', [{}, dict(save_best='acc')])
def test_an_evaluation_alone_saves_nothing(tmp_path, harmoclip_scope, best):
    runner = make_runner(tmp_path, 1, scores=[3.0], **best)
    assert runner.val() == {'acc': 3.0}
    assert names(tmp_path) == []


def start(log, function):
    """Run a function in a process of its own."""

    def child():
        with open(log, 'w') as file:
            os.dup2(file.fileno(), 1)
            os.dup2(file.fileno(), 2)
        sys.stdout = sys.stderr = os.fdopen(1, 'w', 1)
        torch.set_num_threads(1)
        run_command(function)

    process = multiprocessing.get_context('fork').Process(target=child)
    process.start()
    return process


def names(folder, pattern='*.pth*'):
    return sorted(path.name for path in folder.glob(pattern))


def test_a_kill_while_writing_leaves_a_whole_checkpoint(
    tmp_path, harmoclip_scope
):
    work = tmp_path / 'work'
    process = start(
        tmp_path / 'log',
        # 32 MB, only one kept: what is killed has nothing but this one
        lambda: make_runner(work, 500, 8_000_000, max_keep_ckpts=1).train(),
    )
    deadline = time.monotonic() + 60
    try:
        while time.monotonic() < deadline:
            parts = list(work.glob('epoch_*.pth.part'))
            if parts and parts[0].name >= 'epoch_3':
                break
    finally:
        os.kill(process.pid, signal.SIGKILL)
    process.join()
    assert parts, (tmp_path / 'log').read_text()
    left = names(work)
    latest = find_latest_checkpoint(str(work))
    checkpoint = load_weights_only(latest)
    assert checkpoint['state_dict']['weight'].shape == (8_000_000,)
    assert checkpoint['meta']['epoch'] >= 2
    assert Path(latest).name in left

    # the next run clears what was half-written
    make_runner(work, 1, max_keep_ckpts=1).train()
    assert not names(work, '*.part')


class LimitFiles(Hook):
    """From an epoch on, no file may grow beyond a number of bytes: the
    kernel then refuses to write, as on a full disk."""

    def __init__(self, epoch, size):
        self.epoch = epoch
        self.size = size

    def before_train_epoch(self, runner):
        if runner.epoch + 1 == self.epoch:
            signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
            resource.setrlimit(resource.RLIMIT_FSIZE, (self.size,) * 2)


def test_a_checkpoint_that_cannot_be_written_is_one_sentence(
    tmp_path, harmoclip_scope
):
    work = tmp_path / 'work'
    hooks = [LimitFiles(3, 100_000)]
    process = start(
        tmp_path / 'log',
        lambda: make_runner(
            work, 5, 100_000, hooks=hooks, max_keep_ckpts=1
        ).train(),
    )
    process.join(60)
    printed = (tmp_path / 'log').read_text()
    assert process.exitcode == 1, printed
    last = printed.splitlines()[-1]
    assert last.startswith(
        f'Error: a checkpoint could not be written into {work} ('
    )
    assert f'MiB free): {os.strerror(errno.EFBIG)}. Earlier ch' in last
    assert 'go on with --resume' in last
    assert 'Traceback' not in printed
    assert names(work) == ['epoch_2.pth']  # the one that would be replaced
    assert find_latest_checkpoint(str(work)) == str(work / 'epoch_2.pth')


@pytest.mark.parametrize('keep', [1, 2])
def test_as_many_are_kept_as_mmengine_keeps(tmp_path, harmoclip_scope, keep):
    scores = [1.0, 3.0, 2.0, 3.5, 3.0]
    make_runner(
        tmp_path / 'work',
        5,
        scores=scores,
        max_keep_ckpts=keep,
        save_best='acc',
    ).train()
    kept = [f'epoch_{n}.pth' for n in range(6 - keep, 6)]
    assert names(tmp_path / 'work') == ['best_acc_epoch_4.pth', *kept]
    last = (tmp_path / 'work' / 'last_checkpoint').read_text()
    assert last == str(tmp_path / 'work' / 'epoch_5.pth')
    assert load_weights_only(last)['message_hub']['runtime_info'][
        'best_ckpt'
    ].endswith('best_acc_epoch_4.pth')
