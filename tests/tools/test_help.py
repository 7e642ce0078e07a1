"""Help and wrong options answer at once, whatever the commands import."""

import argparse
import os
import runpy
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
COMMANDS = sorted(
    str(path.relative_to(ROOT))
    for top in ('tools', 'demo', 'projects')
    for path in (ROOT / top).rglob('*.py')
    if '    run_command(main)\n' in path.read_text()
    and not path.match('shapes/shapes/*')  # started by others, no command
)
# Each costs seconds of CPU.
HEAVY = ('torch', 'mmcv', 'mmdet', 'mmpretrain', 'open_clip', 'transformers')
# Runs in one child for all commands: what one of them imports stays.
CHILD = """
import contextlib, io, runpy, sys
for path in sys.argv[1:]:
    sys.argv, folder = [path, '--help'], path.rpartition('/')[0]
    sys.path.insert(0, folder)
    said = io.StringIO()
    with contextlib.redirect_stdout(said):
        try:
            runpy.run_path(path, run_name='__main__')
        except SystemExit as end:
            assert not end.code, (path, end.code)
    del sys.path[0]
    assert 'usage: ' in said.getvalue(), path
    found = [name for name in {heavy} if name in sys.modules]
    assert not found, f'{{path}} imports {{found}} before it parses'
"""


def start(*words, **env):
    return subprocess.run(
        [sys.executable, *words],
        env={**os.environ, 'PYTHONPATH': str(ROOT), **env},
        capture_output=True,
        text=True,
        check=False,
    )


def test_help_imports_nothing_heavy():
    assert len(COMMANDS) > 12, COMMANDS
    paths = [str(ROOT / path) for path in COMMANDS]
    done = start('-c', CHILD.format(heavy=HEAVY), *paths)
    assert not done.returncode, done.stderr


def test_a_shell_without_the_environment_gets_a_sentence():
    for path in COMMANDS:
        # -S: no site-packages; -E: no PYTHONPATH
        done = start('-S', '-E', str(ROOT / path), '--help')
        assert done.returncode == 1, path
        assert len(done.stderr.splitlines()) == 1, (path, done.stderr)
        assert '. .venv/bin/activate' in done.stderr


def test_formats_on_offer_are_those_of_the_library():
    from harmoclip_mm.apis import EXPORT_FORMATS

    path = ROOT / 'tools/model_converters/reading_options.py'
    parser = argparse.ArgumentParser()
    runpy.run_path(str(path))['add_format_option'](parser)
    (action,) = [a for a in parser._actions if a.dest == 'format']
    assert action.choices == EXPORT_FORMATS


def test_a_wrong_option_is_told_without_a_traceback():
    done = start(str(ROOT / 'tools/train.py'), '--no-such')
    assert done.returncode == 2
    assert 'Traceback' not in done.stderr
