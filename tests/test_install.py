"""The installation script, as far as it goes without a network."""

import importlib
import os
import shutil
import signal
import subprocess
import sys
import time
import venv
from pathlib import Path

import pytest
from packaging.requirements import Requirement

from harmoclip_mm.compat import STACK

ROOT = Path(__file__).resolve().parents[1]
SETUP = ROOT / 'tools' / 'setup'
REQUIREMENT_DIR = ROOT / 'requirements'


# The scripts are no package: they run where nothing is installed yet.
sys.path.insert(0, str(SETUP))
console = importlib.import_module('console')
environment = importlib.import_module('environment')
install = importlib.import_module('install')


def run_installer(*arguments, **kwargs):
    return subprocess.run(
        [sys.executable, str(SETUP / 'install.py'), *map(str, arguments)],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        **kwargs,
    )


@pytest.fixture
def repository(tmp_path):
    """A copy of the files that the stamp covers."""
    root = tmp_path / 'repository'
    for name in install.STAMPED_FILES:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(ROOT / name, root / name)
    return root


def test_stamp_depends_on_all_that_matters(repository, tmp_path):
    stamps = [install.make_stamp(repository, '3.11')]
    stamps.append(install.make_stamp(repository, '3.12'))
    moved = tmp_path / 'moved'
    shutil.copytree(repository, moved)
    stamps.append(install.make_stamp(moved, '3.11'))
    for name in install.STAMPED_FILES:
        with open(repository / name, 'a') as stream:
            stream.write('# changed\n')
        stamps.append(install.make_stamp(repository, '3.11'))
    assert len(set(stamps)) == len(stamps) == 3 + 6
    assert install.make_stamp(repository, '3.11') == stamps[-1]


def test_every_requirement_file_is_stamped():
    names = {f'requirements/{path.name}' for path in REQUIREMENT_DIR.iterdir()}
    assert names <= set(install.STAMPED_FILES)


def test_second_call_returns_at_once(tmp_path):
    """Also pins the price: `make test` pays it on every call."""
    env = environment.Environment(tmp_path / 'env', install.CONSTRAINTS)
    env.python.parent.mkdir(parents=True)
    env.python.symlink_to(sys.executable)
    python = '{}.{}'.format(*sys.version_info[:2])
    env.remember(stamp=install.make_stamp(ROOT, python))
    times = []
    for _ in range(3):
        start = time.monotonic()
        result = run_installer('--venv', env.folder)
        times.append(time.monotonic() - start)
        assert (result.returncode, result.stdout) == (0, '')
    assert min(times) < 1
    # It did nothing: no log, no lock, no file of venv.
    assert {path.name for path in env.folder.iterdir()} == {
        'bin',
        environment.STATE_FILE,
    }


def test_refuses_a_folder_that_is_no_environment(tmp_path):
    (tmp_path / 'thesis.tex').write_text('precious')
    result = run_installer('--venv', tmp_path)
    assert result.returncode == 1
    assert f'{tmp_path} exists but is no virtual environment' in result.stdout
    assert 'make install VENV=folder' in result.stdout
    assert [path.name for path in tmp_path.iterdir()] == ['thesis.tex']


def test_refuses_an_environment_of_another_python(tmp_path, monkeypatch):
    venv.create(tmp_path / 'env', with_pip=False)
    env = environment.Environment(tmp_path / 'env', install.CONSTRAINTS)
    found = '{}.{}'.format(*sys.version_info[:2])
    assert env.version() == found
    monkeypatch.setattr(sys, 'version_info', (3, 99, 0, 'final', 0))
    with pytest.raises(console.InstallError) as error:
        env.create()
    assert f'was made with Python {found} but this is Python 3.99' in str(
        error.value
    )
    assert f'PYTHON=python{found}' in str(error.value)


def test_state_survives_a_torn_file(tmp_path):
    env = environment.Environment(tmp_path, install.CONSTRAINTS)
    assert env.state == {}
    env.remember(stamp='a', mmcv='b')
    env.remember(stamp=None)
    assert env.state == {'mmcv': 'b'}
    (tmp_path / environment.STATE_FILE).write_text('{"stamp": "a')
    assert env.state == {}
    env.remember(stamp='c')
    assert env.state == {'stamp': 'c'}


@pytest.mark.slow
def test_half_made_environment_is_mended(tmp_path, capsys):
    """A venv without pip, as an interrupt leaves it, gets its pip."""
    venv.create(tmp_path / 'env', with_pip=False)
    env = environment.Environment(tmp_path / 'env', install.CONSTRAINTS)
    assert not env.succeeds('-m', 'pip', '--version')
    env.check_folder()
    env.create()
    assert env.succeeds('-m', 'pip', '--version')
    capsys.readouterr()
    env.create()
    assert capsys.readouterr().out == ''


def test_long_commands_show_that_they_live(tmp_path, capsys):
    states = iter(range(100))
    seconds = console.run_logged(
        [sys.executable, '-c', 'import time; print("x"); time.sleep(0.8)'],
        tmp_path / 'logs' / 'a.log',
        'sleeping',
        progress=lambda: f'{next(states)} of 9 files',
        period=0.2,
    )
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == '  sleeping ...'
    assert '  sleeping: 0 s, 0 of 9 files' in lines
    assert '  sleeping: 0 s, 1 of 9 files' in lines
    assert lines[-1].startswith('  sleeping: done in ')
    assert seconds >= 0.8
    assert (tmp_path / 'logs' / 'a.log').read_text() == 'x\n'


def test_failure_shows_the_end_of_its_log(tmp_path, capsys):
    code = (
        'print("a.cpp:3:1: error: expected expression")\n'
        'for n in range(200): print("line", n)\nraise SystemExit(3)'
    )
    log = tmp_path / 'a.log'
    with pytest.raises(console.InstallError, match='exit status 3') as error:
        console.run_logged([sys.executable, '-c', code], log, 'failing')
    assert str(log) in str(error.value)
    shown = capsys.readouterr().out
    # A compiler's complaint stands far above what pip says about it.
    assert 'a.cpp:3:1: error: expected expression\n' in shown
    assert 'line 199\n' in shown
    assert f'line {200 - console.TAIL_LINES}\n' in shown
    assert f'line {199 - console.TAIL_LINES}\n' not in shown


def test_interrupt_stops_what_was_started(tmp_path):
    """Ctrl-C must not leave compilers running behind it."""
    pid_file = tmp_path / 'pid'
    inner = (
        'import os, time; from pathlib import Path; '
        f'Path({str(pid_file)!r}).write_text(str(os.getpid())); '
        'time.sleep(60)'
    )
    # As ninja does: the compiler is a grandchild.
    code = (
        'import sys; from pathlib import Path; import console\n'
        f'command = "{sys.executable} -c \'{{}}\' & wait"\n'
        'console.run_logged(["sh", "-c", command.format(sys.argv[1])], '
        f'Path({str(tmp_path / "a.log")!r}), "compiling")\n'
    )
    process = subprocess.Popen(
        [sys.executable, '-c', code, inner.replace("'", '"')],
        env={**os.environ, 'PYTHONPATH': str(SETUP)},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        # Whoever runs the tests in the background has switched it off.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )
    for _ in range(200):
        if pid_file.exists() and pid_file.read_text():
            break
        time.sleep(0.05)
    process.send_signal(signal.SIGINT)
    process.wait(timeout=20)
    pid = int(pid_file.read_text())
    for _ in range(200):
        try:
            state = Path(f'/proc/{pid}/stat').read_text().split()[2]
        except (FileNotFoundError, ProcessLookupError):
            return
        if state == 'Z':
            return
        time.sleep(0.05)
    pytest.fail(f'process {pid} outlived the interrupt')


def test_concurrent_installations_wait(tmp_path):
    code = (
        'import sys, time; from pathlib import Path; import console\n'
        'with console.locked(Path(sys.argv[1]), "the environment"):\n'
        '    print("in", time.time(), flush=True)\n'
        '    time.sleep(0.5)\n'
        '    print("out", time.time(), flush=True)\n'
    )
    processes = [
        subprocess.Popen(
            [sys.executable, '-c', code, str(tmp_path / 'locks' / 'a')],
            env={**os.environ, 'PYTHONPATH': str(SETUP)},
            stdout=subprocess.PIPE,
            text=True,
        )
        for _ in range(3)
    ]
    outputs = [process.communicate()[0] for process in processes]
    spans = sorted(
        tuple(
            float(line.split()[1])
            for line in output.splitlines()
            if line.startswith(('in', 'out'))
        )
        for output in outputs
    )
    assert all(a[1] <= b[0] for a, b in zip(spans, spans[1:]))
    waiting = 'waiting for another process that works on the environment'
    assert sum(waiting in output for output in outputs) == 2


def parse(name):
    lines = install.read_requirements(REQUIREMENT_DIR / f'{name}.txt')
    return {Requirement(line).name: Requirement(line) for line in lines}


def test_pins_are_within_the_ranges():
    pins = parse('constraints')
    for name in ('mminstall', 'runtime', 'optional', 'tests'):
        for requirement in parse(name).values():
            pin = pins[requirement.name]
            (specifier,) = pin.specifier
            assert specifier.operator == '=='
            assert requirement.specifier.contains(specifier.version)
    for name in install.TORCH:
        assert install.pinned_version(name, install.CONSTRAINTS)
    with pytest.raises(console.InstallError, match='does not pin setuptools'):
        install.pinned_version('setuptools', install.CONSTRAINTS)


def test_import_check_and_mminstall_agree():
    listed = parse('mminstall')
    text = (REQUIREMENT_DIR / 'mminstall.txt').read_text()
    for versions, fork, upstream in STACK.values():
        assert listed[fork].specifier == Requirement(f'x{versions}').specifier
        assert f'{upstream}{versions}' in text


def test_make_hands_on_its_variables(tmp_path):
    result = subprocess.run(
        [
            *('make', '-n', 'test', 'PYTHON=snake', 'PYTEST_ARGS=-x'),
            *('PYTEST_WORKERS=3', f'VENV={tmp_path}/my env'),
        ],
        cwd=ROOT,
        # `make test` runs this: an inner make would speak of its folders.
        env={k: v for k, v in os.environ.items() if not k.startswith('MAKE')},
        check=True,
        stdout=subprocess.PIPE,
        text=True,
    )
    first, second = result.stdout.strip().splitlines()
    assert first == f"snake tools/setup/install.py --venv '{tmp_path}/my env'"
    assert second.endswith('pytest tests -n 3 --dist loadfile -x')
    assert f"'{tmp_path}/my env/bin/python'" in second
