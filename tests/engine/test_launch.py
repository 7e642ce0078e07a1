"""Pieces of the start-up; whole runs are in ``tests/tools``."""

import os

import pytest
import torch
from mmengine.config import Config
from processes import free_port

from harmoclip_mm.engine import launch, setup_launcher


@pytest.mark.parametrize(
    ('given', 'expected'),
    [
        (
            {'find_unused_parameters': True},
            {
                'type': 'MMDistributedDataParallel',
                'find_unused_parameters': True,
                'broadcast_buffers': False,
            },
        ),
        (
            {'model_wrapper_cfg': None, 'find_unused_parameters': True},
            {
                'type': 'MMDistributedDataParallel',
                'find_unused_parameters': True,
                'broadcast_buffers': False,
            },
        ),
        (
            {'model_wrapper_cfg': {'static_graph': True}},
            {'static_graph': True},
        ),
        (
            {
                'model_wrapper_cfg': {
                    'type': 'MMSeparateDistributedDataParallel',
                    'find_unused_parameters': True,
                }
            },
            {
                'type': 'MMSeparateDistributedDataParallel',
                'find_unused_parameters': True,
            },
        ),
    ],
)
def test_wrapper_keeps_the_users_keys(given, expected):
    cfg = Config(given)
    launch._wrapper_without_device(cfg)
    assert cfg.model_wrapper_cfg == {**expected, 'device_ids': None}


def test_no_launcher_changes_nothing():
    cfg = Config({'env_cfg': {'dist_cfg': {'backend': 'nccl'}}})
    setup_launcher(cfg, 'none')
    assert cfg.to_dict() == {
        'env_cfg': {'dist_cfg': {'backend': 'nccl'}},
        'launcher': 'none',
    }


def test_variables_of_slurm(monkeypatch):
    slurm = {
        'SLURM_PROCID': '9',
        'SLURM_NTASKS': '12',
        'SLURM_LOCALID': '1',
        'SLURM_NODELIST': 'alpha,beta',
        'SLURM_STEP_TASKS_PER_NODE': '4(x2),3,1',
    }
    for name, value in slurm.items():
        monkeypatch.setenv(name, value)
    for name in ('RANK', 'WORLD_SIZE', 'LOCAL_RANK', 'MASTER_PORT'):
        monkeypatch.setenv(name, 'old')  # so that it is restored
    monkeypatch.setenv('MASTER_ADDR', '')
    monkeypatch.delenv('MASTER_ADDR')
    assert launch._export_ranks('slurm') == 4
    assert os.environ['RANK'] == '9'
    assert os.environ['WORLD_SIZE'] == '12'
    assert os.environ['LOCAL_RANK'] == '1'
    assert os.environ['MASTER_ADDR'] == 'alpha'
    assert os.environ['MASTER_PORT'] == 'old'
    monkeypatch.delenv('MASTER_ADDR')


def test_cores_are_shared(monkeypatch):
    before = torch.get_num_threads()
    if hasattr(os, 'sched_getaffinity'):
        cores = len(os.sched_getaffinity(0))
    else:
        cores = os.cpu_count()
    try:
        monkeypatch.setenv('OMP_NUM_THREADS', '1')
        launch._share_cores(1)
        assert torch.get_num_threads() == cores
        launch._share_cores(10 * cores)
        assert torch.get_num_threads() == 1
        torch.set_num_threads(before)
        monkeypatch.setenv('OMP_NUM_THREADS', '3')  # the user's choice
        launch._share_cores(10 * cores)
        assert torch.get_num_threads() == before
    finally:
        torch.set_num_threads(before)


def wait_for_the_other(rank, file, port):
    os.environ.update(RANK='0', WORLD_SIZE='2', LOCAL_RANK='0')
    os.environ.update(MASTER_ADDR='127.0.0.1', MASTER_PORT=port)
    cfg = Config({'env_cfg': {'dist_cfg': {'timeout': 1}}})
    with pytest.raises(RuntimeError, match=r'(?i)timed out|timeout'):
        setup_launcher(cfg, 'pytorch')


@pytest.mark.skipif(torch.cuda.is_available(), reason='mmengine makes it')
def test_the_timeout_of_the_config(run_ranks):
    """The other process never comes."""
    run_ranks(wait_for_the_other, 1, free_port())
