"""Running long commands so that a person sees they are alive.

Standard library only: this runs before anything is installed.
"""

import contextlib
import fcntl
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Callable, Iterator, Mapping, Optional, Sequence

__all__ = ['InstallError', 'locked', 'run_logged', 'say']

TAIL_LINES = 30
ERROR_LINES = 10
_ERROR = re.compile(r'\berror:|#error\b|^make.*Error \d|No space left', re.I)
# Seconds between signs of life. A terminal redraws one line, a log file gets
# a line each time, so it gets fewer.
TERMINAL_PERIOD = 1.0
LOG_PERIOD = 15.0


class InstallError(RuntimeError):
    """Installing failed for a reason that the message explains."""


def say(text: str = '') -> None:
    """Print at once, also into a pipe or a file."""
    print(text, flush=True)


def format_seconds(seconds: float) -> str:
    """Format a duration, e.g. ``8 min 05 s``."""
    minutes, seconds = divmod(int(seconds), 60)
    return f'{minutes} min {seconds:02d} s' if minutes else f'{seconds} s'


def _digest(path: Path) -> str:
    """What a person needs of a failed command's log.

    The end alone does not do: below a compiler's complaint pip prints pages of
    its own traceback.
    """
    text = path.read_text(encoding='utf-8', errors='replace')
    lines = text.splitlines()
    start = max(0, len(lines) - TAIL_LINES)
    errors = [line for line in lines[:start] if _ERROR.search(line)]
    if errors:
        errors = [*errors[:ERROR_LINES], '    ...']
    return '\n'.join(errors + lines[start:])


def _terminate(process: subprocess.Popen) -> None:
    """Stop a command with all that it has started (compilers)."""
    for sign in (signal.SIGTERM, signal.SIGKILL):
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, sign)
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(timeout=10)
            return


def run_logged(
    command: Sequence[str],
    log: Path,
    label: str,
    env: Optional[Mapping[str, str]] = None,
    cwd: Optional[Path] = None,
    progress: Optional[Callable[[], str]] = None,
    period: Optional[float] = None,
) -> float:
    """Run a command, its output into a file, with regular signs of life.

    Args:
        command (Sequence[str]): Program and arguments.
        log (Path): File that gets standard output and standard error.
        label (str): What is going on, in a few words.
        env (Mapping[str, str], optional): Added to the environment.
        cwd (Path, optional): Folder to run in.
        progress (Callable[[], str], optional): Returns how far it is, shown
            behind the elapsed time.
        period (float, optional): Seconds between two signs of life. Defaults
            to 1 in a terminal and to 15 elsewhere.

    Returns:
        float: Seconds it took.

    Raises:
        InstallError: If the command fails; shows the end of its log.
    """
    terminal = sys.stdout.isatty()
    if period is None:
        period = TERMINAL_PERIOD if terminal else LOG_PERIOD
    log.parent.mkdir(parents=True, exist_ok=True)
    if not terminal:
        say(f'  {label} ...')
    start = time.monotonic()
    with open(log, 'wb') as stream:
        process = subprocess.Popen(
            list(command),
            stdin=subprocess.DEVNULL,
            stdout=stream,
            stderr=subprocess.STDOUT,
            env={**os.environ, **(env or {})},
            cwd=None if cwd is None else str(cwd),
            start_new_session=True,
        )
        try:
            while True:
                try:
                    process.wait(timeout=period)
                    break
                except subprocess.TimeoutExpired:
                    status = format_seconds(time.monotonic() - start)
                    detail = progress() if progress is not None else ''
                    line = f'  {label}: {status}'
                    line += f', {detail}' if detail else ''
                    if terminal:
                        print(f'\r\033[K{line}', end='', flush=True)
                    else:
                        say(line)
        finally:
            # An interrupt must not leave compilers running.
            if process.poll() is None:
                _terminate(process)
    seconds = time.monotonic() - start
    clear = '\r\033[K' if terminal else ''
    if process.returncode != 0:
        say(f'{clear}  {label}: FAILED, from {log}:')
        say(_digest(log))
        raise InstallError(
            f'{label} failed (exit status {process.returncode}); the whole '
            f'log is in {log}. Once the cause is removed, the same command '
            'goes on from here.'
        )
    say(f'{clear}  {label}: done in {format_seconds(seconds)}')
    return seconds


@contextlib.contextmanager
def locked(path: Path, what: str) -> Iterator[None]:
    """Hold an exclusive lock on a file; the system drops it with the process.

    Args:
        path (Path): Lock file, created if needed and left in place.
        what (str): What is protected, for the message shown while waiting.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    with open(path, 'w') as stream:
        try:
            fcntl.flock(stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            say(f'  waiting for another process that works on {what} ...')
            fcntl.flock(stream, fcntl.LOCK_EX)
        yield
