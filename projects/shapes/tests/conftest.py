"""Fixtures of the project's tests; commands are modules on pytest's path."""

import importlib
import os
import subprocess
import sys
import time

import processes
import pytest
from mmengine.registry import DefaultScope, init_default_scope

from harmoclip_mm.errors import UsageError
from shapes import children
from shapes.children import PROJECT, REPOSITORY

SHORT_RUN = (
    *('--epochs', '1', '--batch-size', '8'),
    *('--train', '16', '--val', '2', '--test', '30'),
)
processes.spare_configs()


def pytest_collection_finish():
    """Everything is imported."""
    processes.spare_the_collector()


@pytest.fixture(scope='module', autouse=True)
def no_scope_of_other_files():
    """Begin each file without the default scope of another file's runner."""
    DefaultScope._instance_dict.clear()


@pytest.fixture
def harmoclip_scope():
    """The default scope that the configs set."""
    init_default_scope('harmoclip_mm')


@pytest.fixture(scope='session')
def run_tool():
    """Run a command in this process as its command line would."""

    def run(name: str, *args) -> None:
        argv = sys.argv
        sys.argv = [name, *map(str, args)]
        try:
            importlib.import_module(name).main()
        finally:
            sys.argv = argv

    return run


@pytest.fixture(scope='module')
def quick_children():
    """Let children be those of the fork server, for a file's tests; what
    ``finished`` runs starts them as users do."""

    def run_child(command, log, label, env, **_):
        begin = time.monotonic()
        log.parent.mkdir(parents=True, exist_ok=True)
        log.unlink(missing_ok=True)
        environment = {**os.environ, **env}
        if any(processes.run_python(command[1:], log, [environment])):
            raise UsageError(log.read_text())
        return time.monotonic() - begin

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(children, 'run_child', run_child)
        yield


@pytest.fixture(scope='session')
def few_shapes(tmp_path_factory, run_tool):
    """Folder of a few drawn images."""
    folder = tmp_path_factory.mktemp('few') / 'shapes'
    run_tool(
        'make_data', folder, '--workers', 1,
        '--train', 4, '--val', 2, '--test', 2,
    )  # fmt: skip
    return folder


@pytest.fixture(scope='session')
def short_run():
    """Options of a quickstart of two steps."""
    return SHORT_RUN


@pytest.fixture(scope='session')
def finished(tmp_path_factory):
    """Work folder and output of such a quickstart, started from elsewhere;
    nobody changes it."""
    folder = tmp_path_factory.mktemp('elsewhere')
    paths = [str(REPOSITORY), os.environ.get('PYTHONPATH', '')]
    result = subprocess.run(
        [sys.executable, str(PROJECT / 'quickstart.py'), *SHORT_RUN],
        cwd=folder,
        env={
            **os.environ,
            'PYTHONPATH': os.pathsep.join(filter(None, paths)),
            'OMP_NUM_THREADS': '1',
        },
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=900,
    )
    assert result.returncode == 0, result.stdout
    return folder / 'work_dirs' / 'quickstart', result.stdout
