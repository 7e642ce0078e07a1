"""Two machines, played by two ``dist_train.sh`` on this one."""

import json
import os
import subprocess
from pathlib import Path

import pytest
from processes import free_port, tool_environment

REPOSITORY = Path(__file__).resolve().parents[2]
SCRIPT = REPOSITORY / 'tools' / 'dist_train.sh'
OPTIONS = (
    'train_cfg.max_iters=2',
    'train_cfg.val_begin=3',
    'train_dataloader.batch_size=2',
    'train_dataloader.num_workers=0',
    'train_dataloader.persistent_workers=False',
    'default_hooks.checkpoint.interval=2',
    'clip.vision_cfg.layers=2',
    'clip.text_cfg.layers=1',
    'default_hooks.logger.interval=1',
    'log_processor.window_size=1',
)


def environment(**more) -> dict:
    env = tool_environment()
    for name in ('NNODES', 'NODE_RANK', 'MASTER_ADDR', 'PORT'):
        env.pop(name, None)
    return {**env, **more}


def read_losses(work_dir: Path) -> list:
    """Losses of each iteration."""
    (path,) = work_dir.glob('*/vis_data/scalars.json')
    lines = [json.loads(line) for line in path.read_text().splitlines()]
    return [
        {name: value for name, value in line.items() if 'loss' in name}
        for line in lines
    ]


@pytest.mark.slow
def test_two_machines_equal_one(tmp_path, made_coco, run_apart):
    """The global batch and its losses do not depend on where ranks are."""
    config = REPOSITORY / 'configs' / 'harmoclip_tiny_photos.py'
    root = dict(COCO_ROOT=str(made_coco))
    nodes = dict(NNODES='2', MASTER_ADDR='127.0.0.1', PORT=free_port())
    jobs = [
        subprocess.Popen(
            [
                *('bash', str(SCRIPT), str(config), '1'),
                *('--work-dir', 'two', '--cfg-options', *OPTIONS),
            ],
            cwd=tmp_path,
            env=environment(**nodes, **root, NODE_RANK=rank),
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        for rank in '01'
    ]
    try:
        for job in jobs:
            printed, _ = job.communicate(timeout=900)
            assert job.returncode == 0, printed[-5000:]
    finally:
        for job in jobs:
            job.kill()
    run_apart(
        'train.py', config, '--work-dir', 'one', '--cfg-options', *OPTIONS,
        ranks=2, cwd=tmp_path, **root,
    )  # fmt: skip
    assert (tmp_path / 'two' / 'iter_2.pth').is_file()
    two, one = read_losses(tmp_path / 'two'), read_losses(tmp_path / 'one')
    assert len(one) == 2
    for found, expected in zip(two, one):
        assert set(found) == {'loss', 'loss_gc', 'loss_lrc', 'loss_gr'}
        # machines have other numbers of threads, so sums other roundings
        assert found == pytest.approx(expected, rel=1e-4)


@pytest.mark.parametrize('given', [{}, {'NODE_RANK': '1'}])
def test_a_machine_must_say_which_it_is(given):
    """Else it would wait for others that never come."""
    result = subprocess.run(
        ['bash', str(SCRIPT), 'config.py', '1'],
        env=environment(NNODES='2', **given),
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    assert result.returncode == 2
    assert result.stdout == (
        'Error: NNODES=2 machines need NODE_RANK (0 to 1) and MASTER_ADDR '
        'on each\n'
    )


@pytest.mark.parametrize(
    ('given', 'expected'),
    [
        ({}, '--gres=gpu:8 --ntasks=8 --ntasks-per-node=8'),
        (
            {'NNODES': '3', 'GPUS_PER_NODE': '4'},
            '--gres=gpu:4 --nodes=3 --ntasks=12 --ntasks-per-node=4',
        ),
        ({'GPUS': '16'}, '--gres=gpu:8 --ntasks=16 --ntasks-per-node=8'),
    ],
)
def test_slurm_is_asked_for_the_machines(tmp_path, given, expected):
    srun = tmp_path / 'srun'
    srun.write_text('#!/bin/sh\necho "srun $* $MASTER_ADDR"\n')
    srun.chmod(0o755)
    path = f'{tmp_path}{os.pathsep}{os.environ["PATH"]}'
    result = subprocess.run(
        [
            *('bash', str(SCRIPT.with_name('slurm_train.sh'))),
            *('part', 'job', 'config.py', 'work', '--amp'),
        ],
        env=environment(PATH=path, MASTER_ADDR='10.0.0.1', **given),
        stdout=subprocess.PIPE,
        text=True,
        check=True,
    )
    assert f'-p part --job-name=job {expected} --cpus-per-task=5' in (
        result.stdout
    )
    assert result.stdout.endswith(
        'train.py config.py --work-dir=work --amp --launcher slurm 10.0.0.1\n'
    )
