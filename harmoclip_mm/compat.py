"""Versions of the OpenMMLab stack, checked when the package is imported.

Only metadata is read, since importing mmcv and mmpretrain costs seconds.
"""

import io
import warnings
from contextlib import redirect_stdout, suppress
from importlib import import_module, metadata
from importlib.machinery import PathFinder
from importlib.util import find_spec
from typing import NoReturn, Optional

from packaging.specifiers import SpecifierSet

# Accepted versions of a module, its maintained fork, and the original.
STACK = {
    'mmengine': ('>=0.10,<1', 'onedl-mmengine', 'mmengine'),
    'mmcv': ('>=2.1,<3', 'onedl-mmcv', 'mmcv'),
    'mmdet': ('>=3.3,<4', 'onedl-mmdetection', 'mmdet'),
    'mmpretrain': ('>=1.2,<2', 'onedl-mmpretrain', 'mmpretrain'),
}
# mmcv is compiled against the torch that is installed; a wheel from pip's
# cache may have been built for another one.
BUILD = 'MMCV_WITH_OPS=1 pip install --no-build-isolation --no-cache-dir'


def _version(*distributions: str) -> Optional[str]:
    for distribution in distributions:
        with suppress(metadata.PackageNotFoundError):
            return metadata.version(distribution)
    return None


def _requirement(module: str) -> str:
    """What to install: the two families overwrite each other's files, so an
    advice keeps to the one that is there."""
    versions, fork, original = STACK[module]
    forks, originals = zip(*(names for _, *names in STACK.values()))
    upstream = _version(*originals) and not _version(*forks)
    return f'"{original if upstream else fork}{versions}"'


def _fail(reason: str, command: str) -> NoReturn:
    raise ImportError(
        f'harmoclip_mm cannot be imported because {reason}: run `{command}` '
        "(or `make install` in a clone of harmoclip_mm's repository)."
    )


def check_environment() -> None:
    """Check the packages this one builds on.

    Raises:
        ImportError: If one is missing or of another version, mmcv has no
            operators, or transformers breaks mmpretrain. One sentence that
            holds the command to run.
    """
    for module, (versions, *names) in STACK.items():
        version = _version(*names, f'{module}-lite')
        if version is None:  # of a checkout on the path
            with suppress(ImportError):
                version = getattr(import_module(module), '__version__', None)
        if not version or not SpecifierSet(versions).contains(
            version, prereleases=True
        ):
            _fail(
                f'{module}{versions} is needed but {version or "none"} is '
                'installed',
                f'{BUILD if module == "mmcv" else "pip install"} '
                f'{_requirement(module)}',
            )
    folders = find_spec('mmcv').submodule_search_locations
    if PathFinder.find_spec('_ext', folders) is None:
        _fail(
            'the installed mmcv has no compiled operators',
            'pip uninstall -y mmcv-lite mmcv onedl-mmcv && '
            f'{BUILD} {_requirement("mmcv")}',
        )
    # mmpretrain subclasses names that newer ones have removed.
    limit = '<5' if _version('onedl-mmpretrain') else '<4.52'
    transformers = _version('transformers')
    if transformers and not SpecifierSet(limit).contains(
        transformers, prereleases=True
    ):
        _fail(
            f'mmpretrain cannot be imported beside transformers '
            f'{transformers}',
            f'pip install "transformers>=4.40,{limit}"',
        )


def check_operators() -> None:
    """Check that mmcv's operators load beside the installed torch.

    Raises:
        ImportError: If they do not, with the command to run.
    """
    import torch

    try:
        import mmcv._ext  # noqa: F401
    except ImportError as error:
        _fail(
            "mmcv's operators, compiled for another torch, do not load "
            f'beside torch {torch.__version__} ({error})',
            f'{BUILD} --force-reinstall --no-deps {_requirement("mmcv")}',
        )


def import_stack() -> None:
    """Import mmdet and mmpretrain without their notes on optional packages,
    which every command would print and nobody can act on."""
    said = io.StringIO()
    with warnings.catch_warnings(), redirect_stdout(said):
        warnings.filterwarnings('ignore', 'faster_coco_eval is not installed')
        for name in ('mmdet.datasets', 'mmdet.evaluation'):
            import_module(name)
        import_module('mmpretrain.datasets')
    for line in said.getvalue().splitlines():
        if 'Could not import OneDL' not in line:
            print(line)
