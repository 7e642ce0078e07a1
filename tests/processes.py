"""What tests that start processes of their own share."""

import ast
import gc
import multiprocessing
import os
import re
import runpy
import secrets
import shutil
import socket
import subprocess
import sys
from functools import lru_cache
from pathlib import Path
from typing import Any, Dict, List, Optional, Sequence, Tuple

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


def spare_configs() -> None:
    """Let this process write configs as they are: mmengine formats one five
    times in a training, and again for each checkpoint, which takes most of
    the time of a small one. And let it read the metafiles of all models of
    mmdet once, in place of once for each base of mmdet's."""
    from mmengine.config import config, utils
    from yapf.yapflib import yapf_api

    def check(text: str, **kwargs: Any) -> Tuple[str, bool]:
        ast.parse(text)
        return text, False

    # mmengine 0.10 imports it at its top
    module = config if hasattr(config, 'FormatCode') else yapf_api
    module.FormatCode = check
    if not hasattr(utils._get_cfg_metainfo, 'cache_info'):
        utils._get_cfg_metainfo = lru_cache(None)(utils._get_cfg_metainfo)


def spare_the_collector() -> None:
    """Keep what is imported by now out of the garbage collections: each data
    set of mmengine's makes one, a third of a second over all modules."""
    gc.collect()
    gc.freeze()


def peak_memory() -> int:
    """Peak resident memory of this program in bytes; ``ru_maxrss`` would be
    that of the program that started it, too."""
    with open('/proc/self/status') as status:
        (line,) = (x for x in status if x.startswith('VmHWM'))
    return 1024 * int(line.split()[1])


def rank_environments(ranks: int) -> List[Dict[str, str]]:
    """What torchrun tells each of several processes of one machine."""
    shared = dict(
        MASTER_ADDR='127.0.0.1',
        MASTER_PORT=free_port(),
        WORLD_SIZE=str(ranks),
        LOCAL_WORLD_SIZE=str(ranks),
    )
    return [
        dict(shared, RANK=str(rank), LOCAL_RANK=str(rank))
        for rank in range(ranks)
    ]


def forkserver() -> Any:
    """Context of processes that inherit nothing of this one, as with 'spawn',
    from a server that has imported the package once for the session."""
    context = multiprocessing.get_context('forkserver')
    context.set_forkserver_preload(
        [
            f'harmoclip_mm.{name}'
            for name in ('apis', 'datasets', 'engine', 'evaluation', 'models')
        ]
    )
    return context


def finish(processes: Sequence[Any], seconds: float = 900) -> List[int]:
    """Wait for processes that were started, and give their exit codes."""
    for process in processes:
        process.join(seconds)
        if process.is_alive():
            for each in processes:
                each.kill()
            raise TimeoutError(f'{process.name} takes over {seconds} s')
    return [process.exitcode for process in processes]


def write_output_to(path: Any, mode: str) -> None:
    """Write whatever this process prints into a file."""
    with open(path, mode) as file:
        os.dup2(file.fileno(), 1)
        os.dup2(file.fileno(), 2)
    sys.stdout = sys.stderr = os.fdopen(1, 'w', 1)


def run_python(
    words: Sequence[Any],
    log: Any,
    environments: Sequence[Dict[str, str]],
    cwd: Any = '.',
) -> List[int]:
    """Run Python with these arguments in processes of their own, which come
    from the fork server, to save the 10 s of CPU of the imports.

    Args:
        words (Sequence): A script and its arguments, or ``-m`` and a module.
        log (Path): File that gets what all print.
        environments (Sequence[dict]): All variables of each process.
        cwd (Path): Their folder. Defaults to this process's.

    Returns:
        list[int]: Exit code of each.
    """
    arguments = [str(each) for each in words], str(log), os.path.abspath(cwd)
    processes = [
        forkserver().Process(target=_run_python, args=(*arguments, each))
        for each in environments
    ]
    for process in processes:
        process.start()
    return finish(processes)


def _run_python(
    words: List[str], log: str, cwd: str, environment: Dict[str, str]
) -> None:
    import torch

    gc.freeze()
    spare_configs()
    write_output_to(log, 'a')  # ranks share it
    os.chdir(cwd)
    os.environ.clear()
    os.environ.update(environment)
    # as Python itself
    paths = environment.get('PYTHONPATH', '').split(os.pathsep)
    sys.path[:0] = [path for path in paths if path]
    torch.set_num_threads(int(environment.get('OMP_NUM_THREADS', 1)))
    sys.argv = words[words[0] == '-m' :]
    if words[0] == '-m':
        runpy.run_module(words[1], run_name='__main__', alter_sys=True)
    else:
        sys.path.insert(0, str(Path(words[0]).parent))
        runpy.run_path(words[0], run_name='__main__')


def open_in_chromium(url: str, profile: Any, *options: str) -> str:
    """The document of a page after its scripts, which end with the console's
    one message, ``the end``."""
    import pytest

    names = ('chromium', 'chromium-browser', 'google-chrome', 'chrome')
    browser = next(filter(None, map(shutil.which, names)), None)
    if browser is None:
        pytest.skip(f'no Chromium on PATH ({", ".join(names)})')
    result = subprocess.run(
        [browser, '--headless', '--no-sandbox', '--disable-gpu',
         '--disable-dev-shm-usage', '--enable-logging=stderr',
         f'--user-data-dir={profile}', '--dump-dom', *options, url],
        capture_output=True, text=True, timeout=120,
    )  # fmt: skip
    # our own message shows that any other would be seen
    messages = re.findall(r'CONSOLE.*', result.stderr)
    assert len(messages) == 1 and 'the end' in messages[0], result.stderr
    return result.stdout
