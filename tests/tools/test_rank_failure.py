"""A process that fails ends the job, with the reason and at once."""

import os
import subprocess
import time
from pathlib import Path

import pytest
from processes import free_port, tool_environment

pytestmark = pytest.mark.slow

REPOSITORY = Path(__file__).parents[2]
SECONDS = 300  # gloo would wait 1800 for a rank that is gone

CONFIG = """
custom_imports = dict(
    imports=['harmoclip_mm', 'toy_project', 'failing_rank'],
    allow_failed_imports=False)
default_scope = 'harmoclip_mm'
model = dict(type='ToyClassifier')
train_dataloader = dict(
    batch_size=2, num_workers=1,
    sampler=dict(type='ResumableSampler', shuffle=False),
    collate_fn=dict(type='pseudo_collate'),
    dataset=dict(
        type='SeededDataset',
        dataset=dict(type='ToyBoxes', folder={folder!r}, length=80)))
optim_wrapper = dict(optimizer=dict(type='SGD', lr=0.1))
train_cfg = dict(type='ResumableEpochTrainLoop', max_epochs=2)
find_unused_parameters = True
default_hooks = dict(
    checkpoint=dict(type='AtomicCheckpointHook', by_epoch=False, interval=2),
    exact_resume=dict(type='ExactResumeHook'),
    invalid_loss=dict(type='InvalidLossHook'))
custom_hooks = [dict(type='FailAt', how={how!r}, file={failed!r})]
"""


@pytest.mark.parametrize(
    ('how', 'told'),
    [
        (
            'raise',
            [
                'raise ValueError(',
                'ValueError: rank 1 has had enough',
                'rank      : 1 (local_rank: 1)',
            ],
        ),
        ('kill', ['Signal 9 (SIGKILL)', 'rank      : 1 (local_rank: 1)']),
        (
            'nan',
            [
                'not finite in iteration 4 (epoch 1, batch 4) on rank 1',
                # ranks alternate: rank 1 has 1 3, 5 7, 9 11, 13 15, ...
                '/13.png',
                '/15.png',
            ],
        ),
    ],
)
def test_one_failing_rank_ends_the_job(tmp_path, run_apart, how, told):
    (tmp_path / 'images').mkdir()
    failed = tmp_path / 'failed'
    (tmp_path / 'toy.py').write_text(
        CONFIG.format(
            folder=str(tmp_path / 'images'), how=how, failed=str(failed)
        )
    )
    paths = f'{REPOSITORY}{os.pathsep}{Path(__file__).parent}'
    if how == 'nan':  # all ranks end by themselves, and with the same words
        printed = run_apart(
            'train.py', 'toy.py', ranks=2, cwd=tmp_path, code=1,
            PYTHONPATH=paths,
        )  # fmt: skip
    else:
        result = subprocess.run(
            ['bash', str(REPOSITORY / 'tools/dist_train.sh'), 'toy.py', '2'],
            cwd=tmp_path,
            env=tool_environment(PYTHONPATH=paths, PORT=free_port()),
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=600,
        )
        assert result.returncode != 0
        printed = result.stdout
        # torchrun sums up what happened first
        assert 'Root Cause' in printed
    seconds = time.time() - float(failed.read_text())
    assert seconds < SECONDS, seconds
    if how == 'raise':
        assert told[1] in printed.split('Root Cause')[1]
    for text in told:
        assert text in printed, printed
    # what was saved before can be resumed from
    assert (tmp_path / 'work_dirs/toy/iter_2.pth').is_file()
    print(f'{how}: ended {seconds:.1f} s after the failure')
