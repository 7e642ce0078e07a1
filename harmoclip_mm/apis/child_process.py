"""Long commands as child processes, with a progress bar and a log file."""

import contextlib
import json
import os
import signal
import subprocess
import time
from pathlib import Path
from typing import Callable, List, Mapping, Optional, Sequence, Tuple

from rich.console import Console
from rich.progress import (
    BarColumn,
    Progress,
    SpinnerColumn,
    Task,
    TextColumn,
    TimeElapsedColumn,
)

from harmoclip_mm.errors import UsageError

# Lines of a failed command's log that are shown.
TAIL_LINES = 25
# Seconds between two looks at a child, and between two lines where the output
# is no terminal.
POLL_PERIOD, LINE_PERIOD = 0.5, 15.0

# How far a child is: its step and a few words, e.g. (120, 'loss 3.21').
Status = Tuple[int, str]


def format_seconds(seconds: float) -> str:
    """Format a duration for people.

    Args:
        seconds (float): The duration, at least 0.

    Returns:
        str: E.g. ``'8 min 05 s'`` or ``'12 s'``.
    """
    minutes, rest = divmod(round(seconds), 60)
    return f'{minutes} min {rest:02d} s' if minutes else f'{rest} s'


class TrainingWatch:
    """Reads how far a training of mmengine's Runner is.

    Made before the training starts, it tells the new run in a work folder
    from the older ones.

    Args:
        work_dir (Path): Work folder of the Runner.
    """

    def __init__(self, work_dir: Path) -> None:
        self.work_dir = work_dir
        self._old = set(self._files())

    def _files(self) -> List[Path]:
        return sorted(self.work_dir.glob('*/vis_data/scalars.json'))

    def __call__(self) -> Optional[Status]:
        """Returns the last step logged and its loss, None before the first."""
        new = [path for path in self._files() if path not in self._old]
        lines = new[-1].read_text().split('\n')[:-1] if new else []
        for line in reversed(lines):  # the piece after the last \n is partial
            record = json.loads(line)
            if 'loss' in record:
                return record['step'], f'loss {record["loss"]:.2f}'
        return None


def run_child(
    command: Sequence[str],
    log: Path,
    label: str,
    total: Optional[int] = None,
    watch: Optional[Callable[[], Optional[Status]]] = None,
    env: Optional[Mapping[str, str]] = None,
    console: Optional[Console] = None,
    line_period: float = LINE_PERIOD,
) -> float:
    """Run a command to its end, its output into a file.

    A terminal shows a bar with step, loss and remaining time; anywhere else a
    line is printed from time to time.

    Args:
        command (Sequence[str]): Program and arguments.
        log (Path): File for its standard output and error; begins with the
            command itself.
        label (str): What is going on, in a few words.
        total (int, optional): Number of steps. Defaults to unknown.
        watch (Callable, optional): Tells the step reached and a few words,
            or None while there is nothing to tell. Defaults to nothing.
        env (Mapping[str, str], optional): Added to the environment.
        console (Console, optional): Where to print. Defaults to stdout.
        line_period (float): Seconds between two lines where the output is no
            terminal. Defaults to 15.

    Returns:
        float: Wall time in seconds.

    Raises:
        UsageError: If the command fails; ends with the end of its log.
    """
    console = console or Console()
    log.parent.mkdir(parents=True, exist_ok=True)
    bar = Progress(
        SpinnerColumn(),
        TextColumn('{task.description}'),
        BarColumn(bar_width=None),
        TextColumn('{task.fields[words]}'),
        TimeElapsedColumn(),
        console=console,
        disable=not console.is_terminal,
        transient=True,
        expand=True,
    )
    bar.add_task(label, total=total, words='')
    (task,) = bar.tasks
    start = time.monotonic()
    next_line, seen = start + line_period, None
    with open(log, 'w', encoding='utf-8') as stream, bar:
        stream.write('$ ' + ' '.join(map(str, command)) + '\n')
        stream.flush()
        process = subprocess.Popen(
            [str(part) for part in command],
            stdin=subprocess.DEVNULL,
            stdout=stream,
            stderr=subprocess.STDOUT,
            env={**os.environ, **(env or {})},
            start_new_session=True,
        )
        try:
            while not _ended(process, POLL_PERIOD):
                status = watch() if watch is not None else None
                # only news, for the estimate of the remaining time
                if status is not None and status != seen:
                    seen = status
                    bar.update(task.id, completed=status[0])
                    bar.update(task.id, words=_describe(seen, task))
                if bar.disable and time.monotonic() >= next_line:
                    next_line += line_period
                    parts = [label, format_seconds(time.monotonic() - start)]
                    if seen is not None:
                        parts.append(_describe(seen, task))
                    console.print('    ' + ', '.join(parts), highlight=False)
        finally:
            # data workers included
            for sign in (signal.SIGTERM, signal.SIGKILL):
                if process.poll() is None:
                    os.killpg(process.pid, sign)
                    _ended(process, 10)
    seconds = time.monotonic() - start
    if process.returncode != 0:
        lines = log.read_text(encoding='utf-8', errors='replace').splitlines()
        tail = '\n'.join(f'    {line}' for line in lines[-TAIL_LINES:])
        raise UsageError(
            f'{label} failed with exit status {process.returncode} after '
            f'{format_seconds(seconds)}. The end of its log:\n{tail}\n'
            f'The whole log is {log}; its first line is the command, which '
            'can be run by hand.'
        )
    console.print(
        f'  [green]\N{CHECK MARK}[/green] {label}: {format_seconds(seconds)}',
        highlight=False,
    )
    return seconds


def _ended(process: subprocess.Popen, patience: float) -> bool:
    """Whether a process ends within some seconds."""
    with contextlib.suppress(subprocess.TimeoutExpired):
        process.wait(timeout=patience)
    return process.returncode is not None


def _describe(status: Status, task: Task) -> str:
    """Step, words and remaining time."""
    step, words = status
    of = '' if task.total is None else f'/{task.total}'
    left = task.time_remaining
    tail = '' if left is None else f', {format_seconds(left)} left'
    return f'step {step}{of}, {words}{tail}'
