"""Child processes: their logs, their progress and their end."""

import io
import json
import os
import sys
import time

import pytest
from rich.console import Console

from harmoclip_mm.errors import UsageError
from shapes.children import (
    TrainingWatch,
    format_seconds,
    free_threads,
    run_child,
)


def _console(**kwargs):
    return Console(file=io.StringIO(), width=100, **kwargs)


def _python(code):
    return [sys.executable, '-c', code]


def test_threads_leave_busy_cores_alone(monkeypatch):
    for load, cores, threads in (
        (0.2, 2, 2),
        (1.4, 2, 1),
        (9, 2, 1),
        (3, 64, 8),
    ):
        monkeypatch.setattr(os, 'getloadavg', lambda load=load: (load, 0, 0))
        assert free_threads(cores) == threads


@pytest.mark.parametrize(
    'seconds, text',
    [(0.4, '0 s'), (59.4, '59 s'), (59.6, '1 min 00 s'), (605, '10 min 05 s')],
)
def test_durations(seconds, text):
    assert format_seconds(seconds) == text


def test_output_goes_to_the_log_with_the_command_first(tmp_path):
    log, console = tmp_path / 'logs' / 'a.log', _console()
    code = 'import os, sys; print(os.environ["X"]); print(2, file=sys.stderr)'
    seconds = run_child(
        _python(code), log, 'counting', env={'X': 'one'}, console=console
    )
    first, *others = log.read_text().splitlines()
    assert first.startswith('$ ') and first.endswith(code)
    assert sorted(others) == ['2', 'one']
    assert 0 < seconds < 30
    assert 'counting: ' in console.file.getvalue()


def test_a_failure_shows_the_end_of_the_log(tmp_path):
    log = tmp_path / 'a.log'
    code = 'for i in range(99): print("line", i)\nraise SystemExit(3)'
    with pytest.raises(UsageError) as error:
        run_child(_python(code), log, 'counting', console=_console())
    text = str(error.value)
    assert 'counting failed with exit status 3' in text and str(log) in text
    assert 'line 98' in text and 'line 74' in text
    assert 'line 73' not in text


@pytest.fixture
def watched(tmp_path):
    """Run a child that ends when its watch has told all of these."""
    end = tmp_path / 'end'
    code = (
        'import os, time\n'
        f'while not os.path.exists({str(end)!r}): time.sleep(0.02)'
    )

    def run(told, console):
        left = list(told)

        def watch():
            if len(left) == 1:
                end.touch()
            return left.pop(0) if left else told[-1]

        run_child(
            _python(code),
            tmp_path / 'a.log',
            'training',
            total=40,
            watch=watch,
            console=console,
            line_period=0,
        )

    return run


def test_progress_without_a_terminal(watched):
    console = _console()
    watched([None, (10, 'loss 2.00'), (20, 'loss 1.50')], console)
    lines = console.file.getvalue().splitlines()
    assert any('step 10/40, loss 2.00' in line for line in lines)
    # 10 steps took about POLL_PERIOD, so some of the rest is left.
    assert any(
        'step 20/40, loss 1.50, ' in line and line.endswith(' s left')
        for line in lines
    )


def test_progress_in_a_terminal(watched):
    console = _console(force_terminal=True)
    watched([(30, 'loss 2.00')], console)
    shown = console.file.getvalue()
    assert 'step 30/40, loss 2.00' in shown
    assert '\N{BOX DRAWINGS HEAVY HORIZONTAL}' in shown


def test_an_interrupt_ends_the_child(tmp_path):
    def interrupt():
        raise KeyboardInterrupt

    log = tmp_path / 'a.log'
    code = 'import os, time; print(os.getpid(), flush=True); time.sleep(900)'
    begin = time.monotonic()

    def when_started():
        if len(log.read_text().splitlines()) == 2:
            interrupt()

    with pytest.raises(KeyboardInterrupt):
        run_child(
            _python(code), log, 'x', watch=when_started, console=_console()
        )
    assert time.monotonic() - begin < 300
    pid = int(log.read_text().splitlines()[1])
    with pytest.raises(ProcessLookupError):
        os.kill(pid, 0)


def _write(folder, run, *lines):
    path = folder / run / 'vis_data' / 'scalars.json'
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text('\n'.join(lines))


def test_watch_reads_the_new_run_only(tmp_path):
    old = json.dumps({'loss': 9.0, 'step': 99})
    _write(tmp_path, '20200101_000000', old, '')
    watch = TrainingWatch(tmp_path)
    assert watch() is None
    _write(tmp_path, '20200101_000001', '')
    assert watch() is None
    train = json.dumps({'loss': 3.456, 'step': 20})
    # A record of a validation, and one that is being written.
    other = json.dumps({'box_cls/top1': 3.0, 'step': 1})
    _write(tmp_path, '20200101_000001', train, other, '{"loss": 1.0, "st')
    assert watch() == (20, 'loss 3.46')
