"""Long commands as child processes, with a progress bar and a log file.

Every command of the project starts its children here: :class:`Children`
draws data, trains and tests in an environment that they share.
"""

import contextlib
import hashlib
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import (
    Any,
    Callable,
    Dict,
    List,
    Mapping,
    Optional,
    Sequence,
    Tuple,
)

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

PROJECT = Path(__file__).resolve().parents[1]
REPOSITORY = PROJECT.parents[1]
# Whatever decides how the pictures look.
DRAWING_CODE = (
    PROJECT / 'make_data.py',
    *(PROJECT / 'shapes' / name for name in ('outlines.py', 'scenes.py')),
    PROJECT / 'shapes' / 'shapes80.json',
    PROJECT / 'shapes' / 'glyphs80.json',
)
# Tiny models gain nothing from more threads.
MAX_THREADS = 8
# Lines of a failed command's log that are shown.
TAIL_LINES = 25
# Seconds between two looks at a child, and between two lines where the output
# is no terminal.
POLL_PERIOD, LINE_PERIOD = 0.5, 15.0

# How far a child is: its step and a few words, e.g. (120, 'loss 3.21').
Status = Tuple[int, str]


def free_threads(cores: int) -> int:
    """Threads that find a core each; where they have to share one, two are
    several times slower than one.

    Args:
        cores (int): Cores that this process may use.

    Returns:
        int: At least 1, at most ``MAX_THREADS``.
    """
    busy = round(os.getloadavg()[0]) if hasattr(os, 'getloadavg') else 0
    return max(1, min(cores - busy, MAX_THREADS))


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


class Children:
    """Starts the commands of the project and of the toolbox.

    Their environment has ``SHAPES_ROOT``; ``PYTHONPATH`` with the project and
    the repository first; and ``OMP_NUM_THREADS``: as it is set, or the cores
    that no other work keeps busy, 1 at least and 8 at most.

    Args:
        shapes (Path): Folder of the drawn data.
        console (Console): Where to print.
    """

    def __init__(self, shapes: Path, console: Console) -> None:
        self.shapes = shapes.resolve()
        self.console = console
        cores = (
            len(os.sched_getaffinity(0))
            if hasattr(os, 'sched_getaffinity')
            else os.cpu_count() or 1
        )
        paths = (PROJECT, REPOSITORY, os.environ.get('PYTHONPATH'))
        self.env = {
            'OMP_NUM_THREADS': os.environ.get('OMP_NUM_THREADS')
            or str(free_threads(cores)),
            'PYTHONPATH': os.pathsep.join(str(p) for p in paths if p),
            'SHAPES_ROOT': str(self.shapes),
        }

    @property
    def threads(self) -> int:
        """int: Threads of a child."""
        return int(self.env['OMP_NUM_THREADS'].split(',')[0])

    def run(self, *arguments: Any, **kwargs: Any) -> float:
        """Run Python with these arguments.

        Args:
            *arguments: A script and its arguments, or ``-m`` and a module.
            **kwargs: See :func:`run_child`.

        Returns:
            float: Wall time in seconds.
        """
        return run_child(
            [sys.executable, *arguments],
            env=self.env,
            console=self.console,
            **kwargs,
        )

    def draw(self, options: Mapping[str, Any], fresh: bool = False) -> None:
        """Draw the shapes, unless the same were drawn before.

        Args:
            options (Mapping): Options of ``make_data.py`` by name, values
                numbers or sequences of them.
            fresh (bool): Draw in any case. Defaults to False.

        Raises:
            UsageError: If the drawing fails.
        """
        digest = hashlib.sha256()
        for path in DRAWING_CODE:
            digest.update(path.read_bytes())
        settings = json.loads(
            json.dumps({**options, 'drawing_code': digest.hexdigest()})
        )
        stamp = self.shapes / 'settings.json'
        if (
            not fresh
            and stamp.is_file()
            and json.loads(stamp.read_text()) == settings
        ):
            self.console.print(
                f'  drawn before, in {self.shapes}', highlight=False
            )
            return
        stamp.unlink(missing_ok=True)
        arguments: List[str] = []
        for name, value in options.items():
            values = value if isinstance(value, (list, tuple)) else [value]
            arguments += [f'--{name}', *map(str, values)]
        self.run(
            *(PROJECT / 'make_data.py', self.shapes, *arguments),
            log=self.shapes.with_suffix('.log'),
            label='drawing',
        )
        stamp.write_text(json.dumps(settings, indent=2) + '\n')

    def train_and_test(
        self,
        config: Path,
        folder: Path,
        steps: int,
        train_options: Sequence[str],
        test_arguments: Sequence[Any] = (),
        resume: bool = False,
    ) -> Tuple[Dict[str, float], float]:
        """Train by ``tools/train.py``, test by ``tools/test.py``.

        Args:
            config (Path): Config of both.
            folder (Path): Their work folder, with their logs.
            steps (int): Steps of the training, for the progress.
            train_options (Sequence[str]): ``key=value`` of the training.
            test_arguments (Sequence): More arguments of the test.
            resume (bool): Go on from the last checkpoint in the folder.
                Defaults to False.

        Returns:
            tuple[dict[str, float], float]: The metrics, and the seconds that
            the training took.
        """
        folder.mkdir(parents=True, exist_ok=True)
        latest, metrics = folder / 'last_checkpoint', folder / 'metrics.json'
        if not resume:  # nor may a later call go on from an older training
            latest.unlink(missing_ok=True)
        seconds = self.run(
            *(REPOSITORY / 'tools/train.py', config, '--work-dir', folder),
            *(['--resume'] if resume else []),
            *('--cfg-options', *train_options),
            log=folder / 'train.log',
            label=f'training for {steps} steps',
            total=steps,
            watch=TrainingWatch(folder),
        )
        self.run(
            *(REPOSITORY / 'tools/test.py', config),
            *(latest.read_text().strip(), '--work-dir', folder),
            *('--metrics-out', metrics, *test_arguments),
            log=folder / 'test.log',
            label='testing',
        )
        return json.loads(metrics.read_text()), seconds
