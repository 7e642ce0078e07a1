"""The installation script, as far as it goes without a network."""

import fcntl
import os
import re
import resource
import shutil
import signal
import subprocess
import sys
import time
import venv
from pathlib import Path

import install
import pytest
from packaging.requirements import Requirement

from harmoclip_mm.compat import STACK

ROOT = Path(__file__).resolve().parents[1]
SCRIPT = ROOT / 'tools' / 'setup' / 'install.py'
REQUIREMENTS = ROOT / 'requirements'


@pytest.fixture
def log(tmp_path, monkeypatch):
    """The log of commands, away from the environment of the tests."""
    monkeypatch.setattr(install, 'LOG', tmp_path / 'install.log')
    return tmp_path / 'install.log'


@pytest.fixture
def complete(tmp_path, monkeypatch):
    """An environment that has, by its stamp, all that is needed."""
    monkeypatch.setenv('XDG_CACHE_HOME', str(tmp_path / 'cache'))
    folder = tmp_path / 'my env'
    venv.create(folder, with_pip=False, symlinks=True)
    (folder / 'bin' / 'pip').write_text('')
    stamp = install.make_stamp(ROOT, 'default')
    (folder / 'install.stamp').write_text(stamp)
    return folder


def start_installer(folder, stack='default'):
    return subprocess.Popen(
        [sys.executable, str(SCRIPT), str(folder), stack],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


def test_stamp_depends_on_all_that_matters(tmp_path):
    root = tmp_path / 'repository'
    paths = [ROOT / 'setup.py', *SCRIPT.parent.glob('*.py')]
    names = [
        path.relative_to(ROOT) for path in (*paths, *REQUIREMENTS.iterdir())
    ]
    for name in names:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(ROOT / name, root / name)
    stamps = [install.make_stamp(root, stack) for stack in install.STACKS]
    moved = tmp_path / 'moved'
    shutil.copytree(root, moved)
    stamps.append(install.make_stamp(moved, 'default'))
    for name in names:
        with open(root / name, 'a') as stream:
            stream.write('# changed\n')
        stamps.append(install.make_stamp(root, 'default'))
    assert len(set(stamps)) == len(stamps) == 3 + len(names)
    assert install.make_stamp(root, 'default') == stamps[-1]


def test_second_call_returns_at_once(complete):
    """`make test` pays its price on every call."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN).ru_utime
    process = start_installer(complete)
    output = process.communicate()[0]
    assert process.returncode == 0
    # Nothing but the way into it.
    assert output.splitlines() == [
        f'Activate it: . {complete}/bin/activate (or run '
        f'{complete}/bin/python)'
    ]
    after = resource.getrusage(resource.RUSAGE_CHILDREN).ru_utime
    assert after - before < 1.5
    assert not (complete / 'install.log').exists()


def test_stacks_are_not_mixed(complete):
    """Their files have equal names, so one would overwrite the other's."""
    process = start_installer(complete, 'upstream')
    output = process.communicate()[0]
    assert process.returncode == 1
    assert 'default' in output
    stamp = (complete / 'install.stamp').read_text()
    assert stamp == install.make_stamp(ROOT, 'default')


def test_two_calls_wait_for_each_other(complete, tmp_path):
    cache = tmp_path / 'cache' / 'harmoclip_mm'
    cache.mkdir(parents=True)
    with open(cache / 'install.lock', 'w') as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        process = start_installer(complete)
        assert process.stdout.readline().startswith('Waiting for another')
        assert process.poll() is None
    assert 'activate' in process.communicate()[0]
    assert process.returncode == 0


def test_refuses_a_folder_that_is_no_environment(tmp_path, monkeypatch):
    monkeypatch.setenv('XDG_CACHE_HOME', str(tmp_path / 'cache'))
    (tmp_path / 'thesis').mkdir()
    (tmp_path / 'thesis' / 'thesis.tex').write_text('precious')
    process = start_installer(tmp_path / 'thesis')
    assert str(tmp_path / 'thesis') in process.communicate()[0]
    assert process.returncode == 1
    assert len(list((tmp_path / 'thesis').iterdir())) == 1


@pytest.mark.parametrize('stack', install.STACKS)
def test_steps(stack, log, monkeypatch):
    """torch comes before mmcv, mmcv before what needs it, all pinned."""
    steps = []

    def run(label, *command, **kwargs):
        steps.append([str(part) for part in command])

    def install_mmcv(requirement, given):
        assert given is run
        steps.append(requirement)

    monkeypatch.setattr(install, 'run', run)
    monkeypatch.setattr(install, 'install_mmcv', install_mmcv)
    install.install(*install.STACKS[stack])
    torch, mmcv, rest, check = steps
    assert 'torch' in torch
    assert (
        mmcv
        == {'default': 'onedl-mmcv==2.3.6', 'upstream': 'mmcv==2.1.0'}[stack]
    )
    suffix = install.STACKS[stack][1]
    constraints = str(REQUIREMENTS / f'constraints{suffix}.txt')
    for step in (torch, rest):
        assert step[step.index('-c') + 1] == constraints
    assert f'-r{REQUIREMENTS}/mminstall{suffix}.txt' in rest
    assert rest[rest.index('-e') + 1] == str(ROOT)
    assert 'import harmoclip_mm' in check


def test_requirements_alone_need_no_sources(log, monkeypatch):
    """As in the layer of the image that stays when the code changes."""
    steps = []
    monkeypatch.setattr(install, 'run', lambda *step: steps.append(step))
    monkeypatch.setattr(install, 'install_mmcv', lambda *_: None)
    monkeypatch.setattr(install, 'PACKAGE', log.parent / 'none')
    install.install(*install.STACKS['default'])
    assert f'-r{REQUIREMENTS}/runtime.txt' in steps[-1]
    assert not any('-e' in step for step in steps)


def test_the_image_copies_and_makes_what_there_is():
    lines = (ROOT / 'docker/Dockerfile').read_text().splitlines()
    copied = [line.split()[1:-1] for line in lines if line[:5] == 'COPY ']
    assert copied[-1] == ['.']
    assert all((ROOT / name).exists() for names in copied for name in names)
    # all that the stamp is made of comes before the layer of requirements
    root = [name for names in copied[:-1] for name in names]
    assert {'setup.py', 'requirements', 'tools/setup'} <= set(root)
    targets = [
        word
        for line in lines
        for word in re.findall(r'^RUN .*\bmake (\w+)', line)
    ]
    assert targets == ['install', 'install']
    makefile = (ROOT / 'Makefile').read_text()
    assert all(f'\n{target}:' in makefile for target in targets)


def test_long_commands_show_that_they_live(log, capsys):
    code = (
        'import time; print("  [1/4] c++ -c a.cpp", flush=True); '
        'time.sleep(0.8); print("[2/4] c++ -c b.cpp")'
    )
    assert install.run('compiling', sys.executable, '-c', code, period=0.2)
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) >= 3
    lines = [re.sub(r'\d\d:\d\d', 'time', line) for line in lines]
    assert '  time compiling [1/4] ...' in lines
    assert lines[-1] == '  time compiling [2/4] done'
    assert log.read_text().count('c++') == 2


def test_failure_shows_its_cause_and_the_log(log, capsys):
    log.write_text('error of an earlier step\n')
    code = (
        'print("a.cpp:3:1: error: expected expression")\n'
        'for n in range(200): print("line", n)\nraise SystemExit(3)'
    )
    with pytest.raises(SystemExit) as error:
        install.run('failing', sys.executable, '-c', code)
    assert 'failing failed' in str(error.value)
    assert str(log) in str(error.value)
    shown = capsys.readouterr().out
    # A compiler's complaint stands far above what pip says about it.
    assert 'a.cpp:3:1: error: expected expression\n' in shown
    assert 'line 199\n' in shown
    assert 'line 100\n' not in shown
    assert 'earlier' not in shown
    assert not install.run(
        'trying', sys.executable, '-c', 'exit(1)', check=False
    )


@pytest.mark.parametrize('sign', [signal.SIGINT, signal.SIGTERM])
def test_interrupt_stops_what_was_started(tmp_path, sign):
    """Ctrl-C must not leave compilers running behind it."""
    pid_file = tmp_path / 'pid'
    # As ninja does: the compiler is a grandchild.
    code = (
        'import signal, sys, install; from pathlib import Path\n'
        'signal.signal(signal.SIGTERM, signal.default_int_handler)\n'
        f'install.LOG = Path({str(tmp_path / "a.log")!r})\n'
        f'command = "sleep 60 & echo $! > {pid_file}; wait"\n'
        'install.run("compiling", "sh", "-c", command)\n'
    )
    process = subprocess.Popen(
        [sys.executable, '-c', code],
        env={**os.environ, 'PYTHONPATH': str(SCRIPT.parent)},
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        # Whoever runs the tests in the background has switched it off.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )
    assert b'compiling ...' in process.stdout.readline()
    while not (pid_file.exists() and pid_file.read_text()):
        time.sleep(0.05)
    process.send_signal(sign)
    process.communicate(timeout=60)
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


def parse(name):
    lines = (REQUIREMENTS / f'{name}.txt').read_text().splitlines()
    found = [Requirement(line) for line in lines if line and line[0] != '#']
    return {
        requirement.name: requirement
        for requirement in found
        if requirement.marker is None or requirement.marker.evaluate()
    }


@pytest.mark.parametrize('stack', install.STACKS)
def test_pins_are_within_the_ranges(stack):
    suffix = install.STACKS[stack][1]
    pins = parse(f'constraints{suffix}')
    for name in (f'mminstall{suffix}', 'runtime', 'optional', 'tests'):
        for requirement in parse(name).values():
            pin = pins[requirement.name]
            (specifier,) = pin.specifier
            assert specifier.operator == '=='
            assert requirement.specifier.contains(specifier.version)
    assert {'torch', 'torchvision', 'setuptools', 'ninja'} <= set(pins)


def test_import_check_and_requirements_agree():
    forks, originals = parse('mminstall'), parse('mminstall-upstream')
    for versions, fork, original in STACK.values():
        assert forks[fork].specifier == Requirement(f'x{versions}').specifier
        # Upstream's mmdet is narrower than the import check.
        assert set(Requirement(f'x{versions}').specifier) & set(
            originals[original].specifier
        )


def test_make_hands_on_its_variables(tmp_path):
    result = subprocess.run(
        [
            *('make', '-n', 'test', 'PYTHON=snake', 'PYTEST_ARGS=-x'),
            *('PYTEST_WORKERS=3', f'VENV={tmp_path}/my env', 'STACK=upstream'),
        ],
        cwd=ROOT,
        # `make test` runs this: an inner make would speak of its folders.
        env={k: v for k, v in os.environ.items() if not k.startswith('MAKE')},
        check=True,
        stdout=subprocess.PIPE,
        text=True,
    )
    first, second = result.stdout.strip().splitlines()
    assert first == (
        f"snake tools/setup/install.py '{tmp_path}/my env' 'upstream'"
    )
    assert ' -m pytest tests projects -n 3 --dist loadfile ' in second
    assert second.endswith(' -x')
    assert f"'{tmp_path}/my env/bin/python'" in second
