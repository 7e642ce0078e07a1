"""What tests that start processes of their own share."""

import os
import secrets
import socket
import sys
from typing import Dict, Optional

# Variables of torchrun, which would make a single process one of several.
RANK_VARIABLES = ('RANK', 'WORLD_SIZE', 'LOCAL_RANK', 'LOCAL_WORLD_SIZE')


def free_port() -> str:
    """A port that nobody listens on at the moment.

    By chance, and below those that the system gives by itself: another
    connection, or another test at the same time, hardly takes it meanwhile.
    """
    while True:
        port = 10_000 + secrets.randbelow(20_000)
        with socket.socket() as free:
            try:
                free.bind(('', port))
            except OSError:
                continue
        return str(port)


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
