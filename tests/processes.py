"""What tests that start processes of their own share."""

import os
import socket
import sys
from typing import Dict, Optional

# Variables of torchrun, which would make a single process one of several.
RANK_VARIABLES = ('RANK', 'WORLD_SIZE', 'LOCAL_RANK', 'LOCAL_WORLD_SIZE')


def free_port() -> str:
    """A port that nobody listens on at the moment."""
    with socket.socket() as free:
        free.bind(('127.0.0.1', 0))
        return str(free.getsockname()[1])


def tool_environment(
    threads: Optional[int] = 1, **more: str
) -> Dict[str, str]:
    """Environment of a tool on the CPU, outside any distributed run.

    Args:
        threads (int, optional): OMP_NUM_THREADS; several processes on two
            cores want 1. None leaves it as it is. Defaults to 1.
        **more (str): Further variables.

    Returns:
        dict[str, str]: This process's environment with these changes.
    """
    env = {
        name: value
        for name, value in os.environ.items()
        if name not in RANK_VARIABLES
    }
    env.update(PYTHON=sys.executable, CUDA_VISIBLE_DEVICES='-1')
    if threads is not None:
        env['OMP_NUM_THREADS'] = str(threads)
    return {**env, **more}
