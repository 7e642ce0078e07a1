"""Check of the OpenMMLab stack, made when the package is imported.

Nothing heavy is imported for it: a package is located through its import spec
and its ``version.py`` is run on its own, so the check costs milliseconds where
importing mmcv and mmpretrain would cost seconds. Distribution metadata alone
would not do, since mmengine, mmcv, mmdet and mmpretrain are published under
several distribution names (upstream and the ``onedl-*`` forks, mmcv-lite).
"""

import runpy
import sys
from importlib import metadata
from importlib.machinery import PathFinder
from importlib.util import find_spec
from pathlib import Path
from typing import List, NamedTuple, Optional, Sequence

from packaging.specifiers import SpecifierSet
from packaging.version import InvalidVersion, Version

__all__ = ['REQUIREMENTS', 'Requirement', 'check_environment', 'check_lvis']

PYTHON_MINIMUM = (3, 8)


class Requirement(NamedTuple):
    """An importable package that must be there, in a range of versions.

    Attributes:
        module (str): Name it is imported by.
        upstream (str): Distribution name of the original.
        fork (str): Distribution name of the maintained fork.
        versions (str): Accepted versions, a PEP 440 specifier.
    """

    module: str
    upstream: str
    fork: str
    versions: str


REQUIREMENTS = (
    Requirement('mmengine', 'mmengine', 'onedl-mmengine', '>=0.10,<1'),
    Requirement('mmcv', 'mmcv', 'onedl-mmcv', '>=2.1,<3'),
    Requirement('mmdet', 'mmdet', 'onedl-mmdetection', '>=3.3,<4'),
    Requirement('mmpretrain', 'mmpretrain', 'onedl-mmpretrain', '>=1.2,<2'),
)


class _Problem(NamedTuple):
    reason: str
    remedy: str


def _metadata_version(distribution: str) -> Optional[str]:
    try:
        return metadata.version(distribution)
    except metadata.PackageNotFoundError:
        return None


def _package_dir(module: str) -> Optional[Path]:
    """Folder of an installed package, without importing it."""
    try:
        spec = find_spec(module)
    except ValueError:  # already imported, but without a spec
        return None
    # A stray folder of that name is a namespace package: it has no origin.
    if spec is None or spec.origin is None:
        return None
    return Path(spec.origin).parent


def _package_version(
    folder: Path, requirement: Requirement
) -> Optional[Version]:
    """Version as the package itself tells it, else as its metadata does."""
    text = None
    version_file = folder / 'version.py'
    if version_file.is_file():
        try:
            text = runpy.run_path(str(version_file)).get('__version__')
        except Exception:  # a fork's version.py fails without its metadata
            text = None
    text = (
        text
        or _metadata_version(requirement.fork)
        or _metadata_version(requirement.upstream)
    )
    try:
        return Version(str(text))
    except InvalidVersion:
        return None


def _uses_upstream() -> bool:
    """Whether the remedies have to name upstream's distributions.

    The two families overwrite each other's files, so never advise a mix.
    """
    if any(_metadata_version(item.fork) for item in REQUIREMENTS):
        return False
    return any(_metadata_version(item.upstream) for item in REQUIREMENTS)


def _install_command(requirement: Requirement, upstream: bool) -> str:
    name = requirement.upstream if upstream else requirement.fork
    package = f'"{name}{requirement.versions}"'
    if requirement.module == 'mmcv':
        # The operators are compiled against the torch that is installed;
        # a wheel from pip's cache may have been built for another one.
        return (
            'MMCV_WITH_OPS=1 pip install --no-build-isolation '
            f'--no-cache-dir {package}'
        )
    return f'pip install {package}'


def _find_problem(requirement: Requirement, upstream: bool):
    remedy = _install_command(requirement, upstream)
    needed = f'{requirement.module}{requirement.versions}'
    folder = _package_dir(requirement.module)
    if folder is None:
        return _Problem(f'{needed} is not installed', remedy)
    version = _package_version(folder, requirement)
    if version is None:
        return _Problem(
            f'{needed} is needed but the version of the one in {folder} '
            'cannot be told',
            remedy,
        )
    if not SpecifierSet(requirement.versions).contains(
        version, prereleases=True
    ):
        return _Problem(
            f'{needed} is needed but {version} is installed', remedy
        )
    if (
        requirement.module == 'mmcv'
        and PathFinder.find_spec('_ext', [str(folder)]) is None
    ):
        installed = requirement.upstream if upstream else requirement.fork
        if _metadata_version('mmcv-lite'):
            installed = 'mmcv-lite'
        return _Problem(
            f'the installed mmcv {version} lacks the compiled operators '
            '(mmcv-lite, or built without MMCV_WITH_OPS=1)',
            f'pip uninstall -y {installed} && {remedy}',
        )
    return None


def _find_transformers_problem():
    """Recognise transformers 5, with which mmpretrain cannot be imported.

    Its BLIP code subclasses names that transformers 5 has removed ("NoneType
    takes no arguments"), so ``import mmpretrain.models`` fails, and with it
    every tower that subclasses mmpretrain's. Without transformers it works.
    """
    if _package_dir('transformers') is None:
        return None
    text = _metadata_version('transformers')
    try:
        if text is None or Version(text).major < 5:
            return None
    except InvalidVersion:
        return None
    return _Problem(
        f'mmpretrain cannot be imported beside transformers {text}',
        'pip install "transformers>=4.40,<5"',
    )


def check_environment(
    python: Sequence[int] = tuple(sys.version_info[:3]),
) -> None:
    """Check Python and the OpenMMLab packages this package builds on.

    Args:
        python (Sequence[int]): Version of the running Python. Defaults to
            the one of this process.

    Raises:
        ImportError: If a package is missing, of a version outside its range,
            mmcv without compiled operators, or transformers 5 installed. The
            message is one sentence that ends in the command to run.
    """
    if tuple(python[:2]) < PYTHON_MINIMUM:
        raise ImportError(
            'harmoclip_mm needs Python >= '
            f'{".".join(map(str, PYTHON_MINIMUM))} but runs on '
            f'{".".join(map(str, python))}: run '
            '`python3.11 -m venv .venv` and install it there.'
        )
    upstream = _uses_upstream()
    problems: List[Optional[_Problem]] = [
        _find_problem(requirement, upstream) for requirement in REQUIREMENTS
    ]
    problems.append(_find_transformers_problem())
    found = [problem for problem in problems if problem is not None]
    if found:
        reasons = ', and '.join(problem.reason for problem in found)
        remedies = ' && '.join(problem.remedy for problem in found)
        raise ImportError(
            f'harmoclip_mm cannot be imported because {reasons}: run '
            f"`{remedies}` (or `make install` in a clone of harmoclip_mm's "
            'repository).'
        )


def check_lvis() -> None:
    """Check the package that LVIS needs, which is optional.

    Raises:
        UsageError: If it is missing.
    """
    if find_spec('lvis') is None:
        # here, since the check of the environment has to stand alone
        from harmoclip_mm.errors import UsageError

        raise UsageError(
            'LVIS annotations need the package lvis, which is not installed: '
            'run `pip install lvis`'
        )
