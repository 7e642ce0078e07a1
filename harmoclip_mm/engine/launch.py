"""Start-up of distributed runs, on machines without a GPU too.

mmengine's ``init_dist`` selects a CUDA device, and its default wrapper names
one, so its Runner cannot start several processes on a CPU. Where there is no
GPU we therefore make the process group (gloo) before the Runner, which then
leaves it alone, and tell the wrapper to use no device.
"""

import datetime
import os
import subprocess
import time

import torch
from mmengine.config import Config
from mmengine.device import get_device
from torch import distributed as torch_dist

from harmoclip_mm.errors import UsageError


def setup_launcher(cfg: Config, launcher: str) -> None:
    """Prepare the process for a Runner built from ``cfg``.

    With GPUs there has to be one for each process of this machine; mmengine
    makes the process group. Without, it is made here, and the processes of
    this machine share its cores.

    Args:
        cfg (Config): Config of the Runner; ``launcher`` and, without GPU,
            ``model_wrapper_cfg`` (other keys of it are kept) and
            ``env_cfg.dist_cfg.backend`` are set.
        launcher (str): One of 'none', 'pytorch' and 'slurm'.

    Raises:
        UsageError: If the environment of the launcher is missing, or there
            are more processes than GPUs on this machine.
    """
    cfg.launcher = launcher
    if launcher == 'none':
        return
    processes = _export_ranks(launcher)
    device = get_device()
    if device == 'cuda' and processes > torch.cuda.device_count():
        raise UsageError(
            f'{processes} processes on a machine with '
            f'{torch.cuda.device_count()} GPUs: start one process a GPU, or '
            'hide the GPUs by CUDA_VISIBLE_DEVICES=-1 to run on the CPU'
        )
    if device != 'cpu':
        return
    timeout = cfg.get('env_cfg', {}).get('dist_cfg', {}).get('timeout')
    options = {}  # torch 2.1 takes no None
    if timeout is not None:
        options['timeout'] = datetime.timedelta(seconds=timeout)
    torch_dist.init_process_group('gloo', **options)
    cfg.merge_from_dict({'env_cfg.dist_cfg.backend': 'gloo'})
    _wrapper_without_device(cfg)
    _share_cores(processes)


def close_launcher() -> None:
    """Leave the process group, if there is one, at the end of a run."""
    if torch_dist.is_initialized():
        # torch 2.1 holds the GIL while it waits for gloo's threads to end, of
        # which one may want it, to free what the last collective was of.
        time.sleep(0.1)
        torch_dist.destroy_process_group()


def _export_ranks(launcher: str) -> int:
    """Set torch's variables from the launcher's.

    Returns the number of processes on this machine.
    """
    env = os.environ
    try:
        if launcher == 'pytorch':
            names = ('RANK', 'WORLD_SIZE', 'LOCAL_RANK')
            rank, world_size, local_rank = (env[name] for name in names)
            processes = env.get('LOCAL_WORLD_SIZE', '1')
        else:
            rank, world_size = env['SLURM_PROCID'], env['SLURM_NTASKS']
            local_rank = env['SLURM_LOCALID']
            # "4(x2),3": tasks of each node, runs of equal nodes folded; no
            # node has more than the first
            tasks = env.get('SLURM_STEP_TASKS_PER_NODE', world_size)
            processes = tasks.split('(')[0].split(',')[0]
            env.setdefault('MASTER_ADDR', _slurm_host(env['SLURM_NODELIST']))
    except KeyError as error:
        tools = 'dist' if launcher == 'pytorch' else 'slurm'
        raise UsageError(
            f'--launcher {launcher} needs the environment variable '
            f'{error.args[0]}: start with tools/{tools}_train.sh or '
            f'{tools}_test.sh'
        ) from None
    env.setdefault('MASTER_PORT', '29500')
    # what mmengine would set with a warning that nobody can act on
    env.setdefault('MKL_NUM_THREADS', '1')
    env.update(RANK=rank, WORLD_SIZE=world_size, LOCAL_RANK=local_rank)
    return int(processes)


def _slurm_host(node_list: str) -> str:
    """First host of a list such as ``node[3-5,7]``."""
    if '[' not in node_list:
        return node_list.split(',')[0]
    command = ['scontrol', 'show', 'hostnames', node_list]
    return subprocess.check_output(command, text=True).split()[0]


def _wrapper_without_device(cfg: Config) -> None:
    # what the Runner itself does where no wrapper is given
    usual = dict(
        type='MMDistributedDataParallel',
        broadcast_buffers=False,
        find_unused_parameters=cfg.get('find_unused_parameters', False),
    )
    cfg.model_wrapper_cfg = cfg.get('model_wrapper_cfg') or usual
    cfg.model_wrapper_cfg.device_ids = None


def _share_cores(processes: int) -> None:
    """Divide the cores of this machine among its processes.

    A user's OMP_NUM_THREADS is left alone; 1 is what torchrun writes when
    nobody chose, and one core each would leave the rest idle.
    """
    if os.environ.get('OMP_NUM_THREADS', '1') != '1':
        return
    cores = os.cpu_count() or 1
    if hasattr(os, 'sched_getaffinity'):  # respects taskset and slurm
        cores = len(os.sched_getaffinity(0))
    torch.set_num_threads(max(1, cores // processes))
