"""mmcv with compiled operators: built once for each torch, then reused.

pip's own cache keys a built wheel by mmcv's version alone, so after a change
of torch it would install operators that cannot be loaded. Here the key holds
everything the binary depends on. Standard library only.
"""

import json
import os
import shutil
import subprocess
import tarfile
import zipfile
from pathlib import Path
from typing import Dict, NamedTuple, Optional, Tuple

from console import InstallError, locked, run_logged, say

__all__ = ['Target', 'cache_dir', 'ensure_wheel', 'find_wheel', 'probe']

# Memory that one compilation against torch's headers may take, in GiB.
GIB_PER_JOB = 2

# Run by the environment's Python; the last line it prints is the answer.
_PROBE = r"""
import json, os, re, subprocess, sys, sysconfig
import torch
from torch.utils import cpp_extension

accelerator = 'cpu'
wanted = torch.cuda.is_available() or os.environ.get('FORCE_CUDA') == '1'
note = ''
if torch.version.hip and cpp_extension.ROCM_HOME:
    accelerator = 'rocm' + torch.version.hip
elif wanted and torch.version.cuda:
    found = None
    try:
        nvcc = os.path.join(cpp_extension.CUDA_HOME or '', 'bin', 'nvcc')
        text = subprocess.run([nvcc, '--version'], stdout=subprocess.PIPE,
                              universal_newlines=True).stdout
        found = re.search(r'release (\d+\.\d+)', text).group(1)
    except (OSError, AttributeError):
        pass
    if found and found.split('.')[0] == torch.version.cuda.split('.')[0]:
        accelerator = 'cuda' + found
    else:
        note = ('torch is made for CUDA %s but nvcc is %s: mmcv gets CPU '
                'operators only' % (torch.version.cuda, found or 'missing'))
include = sysconfig.get_path('include')
print(json.dumps({
    'torch': torch.__version__,
    'python': 'cp%d%d' % sys.version_info[:2],
    'platform': re.sub('[-.]', '_', sysconfig.get_platform()),
    'accelerator': accelerator,
    'note': note,
    'header': os.path.join(include, 'Python.h'),
}))
"""


class Target(NamedTuple):
    """What a compiled mmcv depends on.

    Attributes:
        torch (str): Version, with its local part (``2.12.1+cu130``).
        python (str): Tag, e.g. ``cp311``.
        platform (str): E.g. ``linux_x86_64``.
        accelerator (str): Which operators get compiled: ``cpu``,
            ``cuda13.0``, ``rocm6.4``.
        note (str): A warning for the user, or ''.
        header (str): Where ``Python.h`` has to be.
    """

    torch: str
    python: str
    platform: str
    accelerator: str
    note: str = ''
    header: str = ''

    def key(self, version: str) -> str:
        """Name of the cache folder of a version of mmcv.

        Args:
            version (str): Version of mmcv.
        """
        return (
            f'{version}-torch{self.torch}-{self.python}-{self.platform}-'
            f'{self.accelerator}'
        )


def cache_dir() -> Path:
    """Folder of the user's cache for this project."""
    base = os.environ.get('XDG_CACHE_HOME') or Path.home() / '.cache'
    return Path(base) / 'harmoclip_mm'


def probe(python: Path) -> Target:
    """Ask an environment what its mmcv has to be compiled for.

    Args:
        python (Path): The environment's interpreter; torch is installed.

    Raises:
        InstallError: If torch cannot be imported there.
    """
    result = subprocess.run(
        [str(python), '-W', 'ignore', '-c', _PROBE],
        capture_output=True,
        text=True,
    )
    if result.returncode != 0:
        raise InstallError(
            f'torch cannot be imported by {python}:\n{result.stderr}'
        )
    return Target(**json.loads(result.stdout.splitlines()[-1]))


def find_wheel(folder: Path) -> Optional[Path]:
    """Find an intact mmcv wheel with operators.

    Args:
        folder (Path): A folder of the cache; need not exist.

    Returns:
        Path, optional: None if there is none, or only a damaged one.
    """
    for wheel in sorted(folder.glob('*mmcv-*.whl')):
        try:
            with zipfile.ZipFile(wheel) as archive:
                names = archive.namelist()
                if any(name.startswith('mmcv/_ext.') for name in names) and (
                    archive.testzip() is None
                ):
                    return wheel
        except (OSError, zipfile.BadZipFile):
            pass
        say(f'  ignoring a damaged wheel: {wheel}')
    return None


def _jobs() -> int:
    """Parallel compilations, from the cores and the memory we may use."""
    try:
        cores = len(os.sched_getaffinity(0))
        pages = os.sysconf('SC_PHYS_PAGES') * os.sysconf('SC_PAGE_SIZE')
    except (AttributeError, ValueError, OSError):
        return max(1, os.cpu_count() or 1)
    return max(1, min(cores, pages // (GIB_PER_JOB * 2**30)))


def check_compiler(target: Target) -> None:
    """Tell what a compilation lacks before minutes are spent on it.

    Args:
        target (Target): What to compile for.

    Raises:
        InstallError: If there is no C++ compiler, or no Python headers.
    """
    if shutil.which(os.environ.get('CXX', 'g++').split()[0]) is None:
        raise InstallError(
            'mmcv has to be compiled but there is no C++ compiler: install '
            'g++ (package g++ or gcc-c++), or set CXX.'
        )
    if target.header and not Path(target.header).is_file():
        raise InstallError(
            f'mmcv has to be compiled but {target.header} is missing: '
            "install Python's headers (package python3-dev or python3-devel)."
        )


def _unpack(archive: Path, folder: Path) -> Path:
    with tarfile.open(archive) as stream:
        # The filter came with 3.12 and its backports.
        kwargs = {'filter': 'data'} if hasattr(tarfile, 'data_filter') else {}
        stream.extractall(folder, **kwargs)
    (source,) = (path for path in folder.iterdir() if path.is_dir())
    return source


def _fetch_source(
    python: Path, requirement: str, constraints: Path, folder: Path, log: Path
) -> Path:
    """Unpacked source of mmcv, kept for the next try if it is complete."""
    source, unpacked = folder / 'mmcv', folder / 'unpacked'
    if source.is_dir():
        return source
    for path in (folder / 'sdist', unpacked):
        shutil.rmtree(path, ignore_errors=True)
    run_logged(
        [
            *(str(python), '-m', 'pip', 'download', '--no-deps'),
            *('--no-build-isolation', '--no-binary', ':all:'),
            *('--disable-pip-version-check', '--no-input'),
            *('-c', str(constraints), '-d', str(folder / 'sdist')),
            requirement,
        ],
        log.with_name(f'{log.stem}-source.log'),
        "getting mmcv's source",
    )
    (archive,) = (folder / 'sdist').glob('*.tar.gz')
    # Renamed last, so that its presence means it is complete.
    _unpack(archive, unpacked).rename(source)
    return source


def count_compiled(source: Path) -> Tuple[int, int]:
    """Count the files that are compiled.

    Args:
        source (Path): Source tree of a build that may be going on.

    Returns:
        tuple[int, int]: How many are done, and how many there are; (0, 0)
            before ninja's plan is written.
    """
    done = sum(1 for _ in source.glob('build/temp*/**/*.o'))
    total = 0
    for plan in source.glob('build/temp*/build.ninja'):
        lines = plan.read_text(encoding='utf-8', errors='replace')
        total += sum(
            line.startswith('build ') and '.o: ' in line
            for line in lines.splitlines()
        )
    return done, total


def _progress(source: Path) -> str:
    done, total = count_compiled(source)
    if total == 0:
        return 'preparing'
    if done == total:
        return f'all {total} files compiled, linking and packing'
    return f'{done} of {total} files compiled'


def build_wheel(
    python: Path, source: Path, out: Path, log: Path, env: Dict[str, str]
) -> Path:
    """Compile a source tree into a wheel, in place.

    Object files stay in the source tree, so a build that was interrupted goes
    on where it was.

    Args:
        python (Path): Interpreter whose packages (torch) it is compiled for.
        source (Path): Unpacked source tree.
        out (Path): Folder for the wheel.
        log (Path): Log file of the build.
        env (dict[str, str]): Added to the environment.

    Returns:
        Path: The wheel.

    Raises:
        InstallError: If it does not compile.
    """
    run_logged(
        [
            *(str(python), '-m', 'pip', 'wheel', '--verbose', '--no-deps'),
            # pip must neither take a wheel for another torch nor keep ours
            # for another torch.
            *('--no-build-isolation', '--no-cache-dir'),
            *('--disable-pip-version-check', '--no-input'),
            *('-w', str(out), str(source)),
        ],
        log,
        f'compiling {source.name}',
        env=env,
        progress=lambda: _progress(source),
    )
    (wheel,) = out.glob('*.whl')
    return wheel


def ensure_wheel(
    python: Path,
    requirement: str,
    version: str,
    target: Target,
    constraints: Path,
    log: Path,
) -> Path:
    """Return mmcv's wheel for a target, from the cache or newly built.

    Args:
        python (Path): The environment's interpreter.
        requirement (str): Distribution and version, ``onedl-mmcv==2.3.6``.
        version (str): Version of mmcv.
        target (Target): What to compile for.
        constraints (Path): pip constraints file.
        log (Path): Log file of the build.

    Returns:
        Path: The wheel, in the cache.

    Raises:
        InstallError: If it cannot be built.
    """
    key = target.key(version)
    final = cache_dir() / 'wheels' / key
    with locked(cache_dir() / 'locks' / f'{key}.lock', f'mmcv for {key}'):
        wheel = find_wheel(final)
        if wheel is not None:
            say(f'  mmcv: reusing {wheel}')
            return wheel
        check_compiler(target)
        jobs = os.environ.get('MAX_JOBS') or str(_jobs())
        say(
            f'  mmcv {version} has to be compiled for torch {target.torch} '
            f'({target.accelerator} operators, {jobs} jobs): about 17 minutes '
            'divided by the number of cores, once; kept for next time in '
            f'{final}'
        )
        build = cache_dir() / 'build' / key
        build.mkdir(parents=True, exist_ok=True)
        source = _fetch_source(python, requirement, constraints, build, log)
        out = build / 'wheel'
        shutil.rmtree(out, ignore_errors=True)
        env = {
            'MMCV_WITH_OPS': '1',
            'MAX_JOBS': jobs,
            # torch looks for ninja on the path; without it, it compiles file
            # after file on one core.
            'PATH': f'{python.parent}{os.pathsep}{os.environ["PATH"]}',
        }
        if target.accelerator == 'cpu':
            # mmcv's build takes any visible GPU for a reason to compile CUDA.
            env.update(CUDA_VISIBLE_DEVICES='', FORCE_CUDA='0')
        built = build_wheel(python, source, out, log, env)
        if find_wheel(out) is None:
            raise InstallError(
                f'{built} was built without operators, see {log}.'
            )
        # Renaming a folder is atomic: others see the whole wheel or none.
        shutil.rmtree(final, ignore_errors=True)
        final.parent.mkdir(parents=True, exist_ok=True)
        out.rename(final)
        shutil.rmtree(build, ignore_errors=True)
        return final / built.name
