"""Install harmoclip_mm and a tested stack into the environment it runs in.

A stamp over all that decides on it says whether there is anything to do. The
steps are safe to repeat: an interrupted installation goes on where it was.
"""

import fcntl
import hashlib
import os
import re
import signal
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path

from mmcv_wheel import CACHE, PIP, install_mmcv

ROOT = Path(__file__).resolve().parents[2]
PACKAGE = ROOT / 'harmoclip_mm'  # a layer of an image is made before it
VENV = Path(sys.prefix)
LOG, STAMP = VENV / 'install.log', VENV / 'install.stamp'
# Prefix of the OpenMMLab distributions, suffix of the requirement files.
STACKS = {'default': ('onedl-', ''), 'upstream': ('', '-upstream')}


def run(label, *command, check=True, period=20, **env):
    """Run a command, its output into the log, and say how far it is."""
    start = time.monotonic()

    def output():
        return LOG.read_bytes()[before:].decode(errors='replace')

    def say(end):
        took = time.strftime('%M:%S', time.gmtime(time.monotonic() - start))
        files = re.findall(r'^ *(\[\d+/\d+\])', output(), re.M)  # ninja's
        print(f'  {took} {label}', *files[-1:], end, flush=True)

    with open(LOG, 'ab') as stream:
        before = stream.seek(0, os.SEEK_END)
        process = subprocess.Popen(
            [str(part) for part in command],
            stdout=stream,
            stderr=subprocess.STDOUT,
            env={**os.environ, **env},
            start_new_session=True,
        )
    try:
        while process.poll() is None:
            say('...')
            with suppress(subprocess.TimeoutExpired):
                process.wait(period)
    except KeyboardInterrupt:
        # It must leave neither pip nor compilers behind.
        for sign in (signal.SIGINT, signal.SIGKILL):
            with suppress(ProcessLookupError, subprocess.TimeoutExpired):
                os.killpg(process.pid, sign)
                process.wait(10)
        raise
    if process.returncode and check:
        # A compiler's complaint stands far above the end, which is pip's.
        errors = re.findall(r'.*(?:\berror\b|not found).*', output(), re.I)
        print('\n'.join([*errors[:10], *output().splitlines()[-10:]]))
        sys.exit(f'{label} failed, see {LOG}.')
    say('no' if process.returncode else 'done')
    return process.returncode == 0


def make_stamp(root, stack):
    """The stack, and a digest of all that decides on what gets installed."""
    paths = [*root.glob('requirements/*.txt'), *root.glob('tools/setup/*.py')]
    data = [path.read_bytes() for path in sorted([root / 'setup.py', *paths])]
    data.append(f'{sys.version} {root}'.encode())
    return f'{stack} {hashlib.sha256(b"".join(data)).hexdigest()}'


def install(prefix, suffix):
    """Go through all steps; those that are done cost seconds."""
    LOG.write_text('')
    print(f'Installing into {VENV}, output in {LOG}', flush=True)
    constraints = ROOT / 'requirements' / f'constraints{suffix}.txt'
    pip = [*PIP, 'install', '-c', constraints]
    for_mmcv = ['setuptools', 'wheel', 'ninja', 'packaging', 'opencv-python']
    for_mmcv += ['torch', 'torchvision', f'{prefix}mmengine']
    run('torch (several GB) and build tools', *pip, *for_mmcv)
    pins = constraints.read_text(encoding='utf-8')
    install_mmcv(re.search(rf'^{prefix}mmcv==\S+', pins, re.M)[0], run)
    names = (f'mminstall{suffix}', 'runtime', 'optional', 'tests')
    files = [f'-r{ROOT}/requirements/{name}.txt' for name in names]
    if PACKAGE.is_dir():
        files += ['--no-build-isolation', '-e', ROOT]
    run('the rest', *pip, *files)
    if PACKAGE.is_dir():
        run('import', sys.executable, '-I', '-c', 'import harmoclip_mm')


def main(venv, stack):
    """Install a stack, a key of `STACKS`, unless the folder has it."""
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # as Ctrl-C
    CACHE.mkdir(parents=True, exist_ok=True)
    # The system drops the lock with the process.
    with open(CACHE / 'install.lock', 'w') as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            print('Waiting for another installation to end ...', flush=True)
            fcntl.flock(lock, fcntl.LOCK_EX)
        if VENV.resolve() != venv.resolve():  # goes on in its Python
            if any(venv.glob('*')) and not (venv / 'pyvenv.cfg').exists():
                sys.exit(f'{venv} is no environment: choose another VENV.')
            if not (venv / 'bin' / 'pip').exists():
                subprocess.check_call([sys.executable, '-m', 'venv', venv])
            os.execv(f'{venv}/bin/python', [f'{venv}/bin/python', *sys.argv])
        stamp = make_stamp(ROOT, stack)
        found = (STAMP.exists() and STAMP.read_text()) or stack
        if found.split()[0] != stack:  # one would overwrite the other
            sys.exit(f'{venv} has another STACK: {found.split()[0]}.')
        if found != stamp:
            STAMP.write_text(stack)
            install(*STACKS[stack])
            if PACKAGE.is_dir():
                STAMP.write_text(stamp)
    print(f'Activate it: . {venv}/bin/activate (or run {venv}/bin/python)')


if __name__ == '__main__':
    try:
        main(Path(sys.argv[1]), *sys.argv[2:])
    except KeyboardInterrupt:
        sys.exit('Interrupted; the same command goes on from here.')
