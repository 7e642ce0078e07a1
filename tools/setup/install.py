#!/usr/bin/env python3
"""Install harmoclip_mm and the stack it is tested with into an environment.

``make install`` calls this. It needs Python >= 3.10 with pip, and gcc, g++ to
compile mmcv's operators (once for each version of torch, see mmcv_wheel.py).
A stamp over the requirement files says whether anything has to be done, so it
may be called before every command. Every step is safe to repeat: pip skips
what is there, and an interrupted installation goes on where it was.
"""

import argparse
import contextlib
import hashlib
import re
import shutil
import signal
import sys
import time
from pathlib import Path
from typing import List, Optional

from console import InstallError, format_seconds, locked, run_logged, say
from environment import Environment
from mmcv_wheel import ensure_wheel, probe

ROOT = Path(__file__).resolve().parents[2]
REQUIREMENTS = ROOT / 'requirements'
CONSTRAINTS = REQUIREMENTS / 'constraints.txt'
# Increase when an existing environment has to go through the steps again.
INSTALLER_VERSION = 1
MINIMUM_PYTHON = (3, 10)
BUILD_TOOLS = (
    'pip>=23',
    'setuptools',
    'wheel',
    'ninja',
    'psutil',
    'packaging',
)
TORCH = ('torch', 'torchvision')
MMCV = 'onedl-mmcv'
# Read by the stamp: a change in one of them runs the (cheap) steps again.
STAMPED_FILES = (
    *(f'requirements/{name}.txt' for name in ('mminstall', 'runtime')),
    *(f'requirements/{name}.txt' for name in ('optional', 'tests')),
    'requirements/constraints.txt',
    'setup.py',
)


def make_stamp(root: Path, python: str) -> str:
    """Digest of everything that decides what has to be installed.

    Args:
        root (Path): The repository, whose path counts too: an editable
            install points at it.
        python (str): Version of Python, ``major.minor``.

    Returns:
        str: Hexadecimal digest.
    """
    digest = hashlib.sha256()
    digest.update(f'{INSTALLER_VERSION}\0{python}\0{root}\0'.encode())
    for name in STAMPED_FILES:
        digest.update(f'{name}\0'.encode())
        digest.update((root / name).read_bytes())
    return digest.hexdigest()


def read_requirements(path: Path) -> List[str]:
    """Requirements of a file, without comments.

    Args:
        path (Path): Requirements or constraints file.
    """
    lines = (
        line.split('#')[0].strip()
        for line in path.read_text(encoding='utf-8').splitlines()
    )
    return [line for line in lines if line]


def pinned_version(name: str, constraints: Path) -> str:
    """Version that the constraints pin a distribution to.

    Args:
        name (str): Distribution name.
        constraints (Path): The constraints file.

    Raises:
        InstallError: If it is not pinned with ``==``.
    """
    for line in read_requirements(constraints):
        if line.startswith(f'{name}=='):
            return line.split('==')[1]
    raise InstallError(f'{constraints} does not pin {name} with "==".')


def install_mmcv(env: Environment) -> None:
    """Install mmcv with operators that fit the installed torch.

    Args:
        env (Environment): Where to; has torch and the build tools.

    Raises:
        InstallError: If the operators cannot be built or loaded.
    """
    version = pinned_version(MMCV, CONSTRAINTS)
    target = probe(env.python)
    if target.note:
        say(f'  note: {target.note}')
    key = target.key(version)
    check = (
        'from importlib.metadata import version as v; import torch, mmcv._ext;'
        f'assert v({MMCV!r}) == {version!r}'
    )
    works = env.succeeds('-c', check)
    # Without a remembered key it was installed by hand: believe what works.
    if works and env.state.get('mmcv') in (None, key):
        say(f'  mmcv {version}: already there')
        env.remember(mmcv=key)
        return
    for attempt in (1, 2):
        wheel = ensure_wheel(
            env.python,
            f'{MMCV}=={version}',
            version,
            target,
            CONSTRAINTS,
            env.logs / 'mmcv-build.log',
        )
        # Its dependencies first, so that --force-reinstall, needed for a
        # wheel of the same version, touches mmcv only.
        env.pip_install('mmcv-deps', "mmcv's dependencies", str(wheel))
        env.pip_install(
            'mmcv', 'mmcv', '--no-deps', '--force-reinstall', str(wheel)
        )
        if env.succeeds('-c', check):
            env.remember(mmcv=key)
            return
        if attempt == 1:
            say('  its operators do not load; building them anew')
            shutil.rmtree(wheel.parent)
    raise InstallError(
        "mmcv's operators were built but cannot be loaded; try "
        f'`{env.python} -c "import torch, mmcv._ext"`.'
    )


def install_all(env: Environment) -> None:
    """Go through all steps; those that find nothing to do take seconds.

    Args:
        env (Environment): Where to.

    Raises:
        InstallError: If a step fails.
    """
    say('[1/6] environment and build tools')
    env.create()
    env.pip_install('tools', 'build tools', *BUILD_TOOLS)
    say('[2/6] torch')
    env.pip_install('torch', f'{", ".join(TORCH)} (several GB)', *TORCH)
    say('[3/6] mmcv')
    mm = read_requirements(REQUIREMENTS / 'mminstall.txt')
    names = {re.split(r'[<>=!~ \[]', line)[0]: line for line in mm}
    env.pip_install('mmengine', 'mmengine', names['onedl-mmengine'])
    install_mmcv(env)
    say('[4/6] mmdet, mmpretrain, open_clip')
    env.pip_install(
        'mm',
        'mmdet, mmpretrain, open_clip',
        *(line for name, line in names.items() if name != MMCV),
    )
    say('[5/6] other requirements')
    files = [f'{REQUIREMENTS / name}.txt' for name in ('runtime', 'optional')]
    files.append(str(REQUIREMENTS / 'tests.txt'))
    env.pip_install(
        'requirements',
        'runtime, optional, tests',
        *(part for name in files for part in ('-r', name)),
    )
    say('[6/6] harmoclip_mm')
    env.pip_install(
        'project',
        'harmoclip_mm (editable)',
        *('--no-deps', '--no-build-isolation', '-e', str(ROOT)),
    )
    run_logged(
        [str(env.python), '-c', 'import harmoclip_mm'],
        env.logs / 'check.log',
        'checking the import',
        cwd=env.folder,
    )


def _exit_on_signal(number, frame) -> None:
    raise SystemExit(128 + number)


def main(argv: Optional[List[str]] = None) -> int:
    """Entry point.

    Args:
        argv (list[str], optional): Arguments. Defaults to the command line's.

    Returns:
        int: Exit status, 0 if everything is installed.
    """
    parser = argparse.ArgumentParser(
        description=__doc__.splitlines()[0],
        epilog='Wheels of mmcv are kept in ${XDG_CACHE_HOME:-~/.cache}/'
        'harmoclip_mm/wheels. MAX_JOBS limits parallel compilations.',
    )
    parser.add_argument(
        '--venv',
        type=Path,
        default=Path('.venv'),
        help='folder of the virtual environment (default: .venv)',
    )
    parser.add_argument(
        '--force',
        action='store_true',
        help='go through all steps even if the stamp says that all is there',
    )
    args = parser.parse_args(argv)
    python = '{}.{}'.format(*sys.version_info[:2])
    env = Environment(args.venv.expanduser(), CONSTRAINTS)
    try:
        if sys.version_info[:2] < MINIMUM_PYTHON:
            raise InstallError(
                f'the pinned stack needs Python >= '
                f'{".".join(map(str, MINIMUM_PYTHON))} but this is {python}: '
                'call make with PYTHON=python3.11.'
            )
        stamp = make_stamp(ROOT, python)

        def done() -> bool:
            same = env.state.get('stamp') == stamp
            return same and env.python.exists() and not args.force

        if done():
            return 0
        env.check_folder()
        # A KeyboardInterrupt cleans up after itself; so shall a termination.
        signal.signal(signal.SIGTERM, _exit_on_signal)
        start = time.monotonic()
        with locked(env.lock, str(env.folder)):
            if done():  # by the process that we have waited for
                return 0
            say(f'Installing into {env.folder}, logs in {env.logs}')
            env.remember(stamp=None)
            install_all(env)
            env.remember(stamp=stamp)
        say(f'Installed in {format_seconds(time.monotonic() - start)}.')
    except InstallError as error:
        say(f'\nERROR: {error}')
        return 1
    except KeyboardInterrupt:
        say('\nInterrupted; the same command goes on from here.')
        return 130
    return 0


if __name__ == '__main__':
    with contextlib.suppress(BrokenPipeError):
        sys.exit(main())
