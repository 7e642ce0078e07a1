#!/usr/bin/env python
"""Packaging of harmoclip_mm, with the ``.mim`` folder OpenMIM looks for."""

import os
import runpy
import shutil
from pathlib import Path

from setuptools import find_packages, setup
from setuptools.command.build_py import build_py
from setuptools.command.develop import develop

PACKAGE = 'harmoclip_mm'
ROOT = Path(__file__).resolve().parent
# What `mim train`, `mim download` and so on read from an installed package.
MIM_ITEMS = (
    'tools',
    'configs',
    'demo',
    'model-index.yml',
    'dataset-index.yml',
)
IGNORED = shutil.ignore_patterns('__pycache__', '*.py[co]')


def parse_requirements(path):
    """Read a requirements file.

    Args:
        path (str): File, relative to the repository; may include others by
            ``-r``.

    Returns:
        list[str]: The requirements, without comments and options.
    """
    path = ROOT / path
    requirements = []
    for line in path.read_text(encoding='utf-8').splitlines():
        line = line.split(' #')[0].strip()
        if line.startswith('-r '):
            included = (path.parent / line[3:].strip()).relative_to(ROOT)
            requirements += parse_requirements(included)
        elif line and not line.startswith(('#', '-')):
            requirements.append(line)
    return requirements


def remove(path):
    """Remove a file, a link or a folder, whatever it is."""
    if path.is_symlink() or path.is_file():
        path.unlink()
    elif path.is_dir():
        shutil.rmtree(path)


def add_mim_extension(package_dir, editable):
    """Put tools, configs and indexes into ``.mim`` of the package.

    Args:
        package_dir (Path): The package folder to put it in: the source tree's
            for an editable install, else the one being built.
        editable (bool): Whether to link, so that edits are seen, or to copy.
    """
    mim = Path(package_dir) / '.mim'
    remove(mim)
    mim.mkdir(parents=True)
    for name in MIM_ITEMS:
        source, target = ROOT / name, mim / name
        if not source.exists():
            continue
        if editable:
            try:
                target.symlink_to(os.path.relpath(source, mim))
                continue
            except OSError:  # no right to make links, as often on Windows
                pass
        if source.is_dir():
            shutil.copytree(source, target, ignore=IGNORED)
        else:
            shutil.copyfile(source, target)


class BuildPyWithMim(build_py):
    """Used by wheels, and by editable installs of pip >= 21.3 (PEP 660)."""

    def run(self):
        """Build, then add ``.mim`` to what has been built."""
        super().run()
        editable = getattr(self, 'editable_mode', False)
        package_dir = (
            ROOT / PACKAGE if editable else Path(self.build_lib) / PACKAGE
        )
        add_mim_extension(package_dir, editable)


class DevelopWithMim(develop):
    """Used by ``setup.py develop`` and editable installs of older pips."""

    def run(self):
        """Link ``.mim`` in the source tree, then install."""
        add_mim_extension(ROOT / PACKAGE, editable=True)
        super().run()


if __name__ == '__main__':
    setup(
        name=PACKAGE,
        version=runpy.run_path(str(ROOT / PACKAGE / 'version.py'))[
            '__version__'
        ],
        description='Region-level CLIP training and evaluation on MMEngine '
        'and MMDetection',
        long_description=(
            (ROOT / 'README.md').read_text(encoding='utf-8')
            if (ROOT / 'README.md').is_file()
            else ''
        ),
        long_description_content_type='text/markdown',
        license='Apache-2.0',
        keywords='computer vision, CLIP, region-text alignment, '
        'open-vocabulary detection',
        packages=find_packages(include=[PACKAGE, f'{PACKAGE}.*']),
        include_package_data=True,
        python_requires='>=3.8',
        classifiers=[
            'Development Status :: 3 - Alpha',
            'Operating System :: OS Independent',
            'Programming Language :: Python :: 3',
            'Topic :: Scientific/Engineering :: Artificial Intelligence',
        ],
        # Neither torch nor an OpenMMLab package: an editable install must not
        # replace those of the user. `harmoclip_mm.compat` checks for them.
        install_requires=parse_requirements('requirements/runtime.txt'),
        extras_require={
            'mim': parse_requirements('requirements/mminstall.txt'),
            'optional': parse_requirements('requirements/optional.txt'),
            'tests': parse_requirements('requirements/tests.txt'),
            'all': [
                requirement
                for name in ('runtime', 'optional', 'tests')
                for requirement in parse_requirements(
                    f'requirements/{name}.txt'
                )
            ],
        },
        cmdclass={'build_py': BuildPyWithMim, 'develop': DevelopWithMim},
        zip_safe=False,
    )
