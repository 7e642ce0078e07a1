"""What of a run reaches the terminal, and what is left of a killed one."""

import logging
import multiprocessing
import os
import signal
import sys
import time
import warnings
from pathlib import Path

import pytest
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval
from torch.utils.data import DataLoader

from harmoclip_mm.engine import quieten_libraries
from harmoclip_mm.engine.runner import QuietRunner, is_no_dump


@pytest.mark.parametrize(
    'message, shown',
    [
        ('Config:\nmodel = dict()', False),
        ('\n' + '-' * 60 + '\nSystem environment:', False),
        ('Hooks will be executed in the following order:\n', False),
        ('paramwise_options -- backbone.visual.proj:lr=1e-05', False),
        ('visual.proj is skipped since its requires_grad=False', False),
        ('Loads checkpoint by local backend from path: a.pth', False),
        ('bbox_mAP_copypaste: 1.000 1.000', False),
        ('Exp name: a_20260101_000000', False),
        ('Results has been saved to a.pkl.', False),
        ('Epoch(train) [1][1/3]  loss: 1.0', True),
        ('The training starts from random weights', True),
    ],
)
def test_dumps_stay_in_the_log_file(message, shown):
    record = logging.LogRecord('a', 20, 'f.py', 1, message, (), None)
    assert is_no_dump(record) == shown


def test_torch_does_not_advise_fewer_workers():
    with warnings.catch_warnings():
        warnings.simplefilter('error')
        with pytest.raises(UserWarning, match='DataLoader will create'):
            DataLoader(range(9), num_workers=os.cpu_count() + 1)
        quieten_libraries()
        DataLoader(range(9), num_workers=os.cpu_count() + 1)


def test_coco_prints_its_table_alone(capsys):
    quieten_libraries()
    truth = COCO()
    box = dict(id=1, image_id=1, category_id=1, bbox=[0, 0, 9, 9], area=81)
    truth.dataset = dict(
        images=[dict(id=1)],
        categories=[dict(id=1)],
        annotations=[dict(box, iscrowd=0)],
    )
    truth.createIndex()
    found = truth.loadRes([dict(box, score=1.0)])
    judge = COCOeval(truth, found, 'bbox')
    judge.evaluate()
    judge.accumulate()
    judge.summarize()
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 12
    assert all(line.startswith(' Average') for line in lines)


def load_until_killed(pids):
    """With workers whose batches do not fit into the pipe to this process."""
    loader = QuietRunner.build_dataloader(
        dict(
            dataset=[bytes(1 << 20)] * 99,
            sampler=dict(type='DefaultSampler'),
            collate_fn=dict(type='pseudo_collate'),
            batch_size=1,
            num_workers=2,
        )
    )
    batches = iter(loader)
    next(batches)
    pids.write_text(' '.join(str(each.pid) for each in batches._workers))
    os.kill(os.getpid(), signal.SIGKILL)


@pytest.mark.skipif(sys.platform != 'linux', reason='a service of Linux')
def test_workers_end_with_a_process_that_is_killed(tmp_path):
    """Else they would wait for ever, and keep their memory."""
    context = multiprocessing.get_context('fork')
    killed = context.Process(
        target=load_until_killed, args=(tmp_path / 'pids',)
    )
    killed.start()
    killed.join(60)
    assert killed.exitcode == -signal.SIGKILL

    def runs(pid):
        try:
            return Path(f'/proc/{pid}/stat').read_text().split()[2] != 'Z'
        except OSError:  # by now it is gone
            return False

    pids = (tmp_path / 'pids').read_text().split()
    for _ in range(60):
        left = [int(pid) for pid in pids if runs(pid)]
        if not left:
            break
        time.sleep(0.25)
    for pid in left:
        os.kill(pid, signal.SIGKILL)
    assert len(pids) == 2 and not left
