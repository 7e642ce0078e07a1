"""Fixtures of the project's tests; commands are modules on pytest's path."""

import importlib
import sys

import pytest
from mmengine.registry import DefaultScope, init_default_scope


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


@pytest.fixture(scope='session')
def few_shapes(tmp_path_factory, run_tool):
    """Folder of a few drawn images."""
    folder = tmp_path_factory.mktemp('few') / 'shapes'
    run_tool(
        'make_data', folder, '--workers', 1,
        '--train', 4, '--val', 2, '--test', 2,
    )  # fmt: skip
    return folder
