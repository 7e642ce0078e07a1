#!/usr/bin/env python
"""Packaging of harmoclip_mm, with the ``.mim`` folder OpenMIM looks for."""

import os
import runpy
import shutil
from contextlib import suppress
from pathlib import Path

from setuptools import find_packages, setup
from setuptools.command.build_py import build_py

PACKAGE = 'harmoclip_mm'
ROOT = Path(__file__).resolve().parent
VERSION = ROOT / PACKAGE / 'version.py'
# What `mim train`, `mim download` and so on read from an installed package.
MIM_ITEMS = ('tools', 'configs', 'demo', 'model-index.yml')
IGNORED = shutil.ignore_patterns('__pycache__', '*.py[co]')


def parse_requirements(name):
    """Read a file of ``requirements/``, without comments."""
    text = (ROOT / 'requirements' / f'{name}.txt').read_text(encoding='utf-8')
    return [line for line in text.splitlines() if line and line[0] != '#']


def add_mim_extension(package_dir, editable):
    """Put tools, configs and indexes into ``.mim`` of the package.

    Args:
        package_dir (Path): The package folder to put it in: the source tree's
            for an editable install, else the one being built.
        editable (bool): Whether to link, so that edits are seen, or to copy.
    """
    mim = package_dir / '.mim'
    if mim.exists():
        shutil.rmtree(mim)  # of links it removes the links
    mim.mkdir(parents=True)
    for name in MIM_ITEMS:
        source, target = ROOT / name, mim / name
        if editable and source.exists():
            # Where one has no right to make links, as often on Windows,
            # `mim` finds nothing, but the package works.
            with suppress(OSError):
                target.symlink_to(os.path.relpath(source, mim))
        elif source.is_dir():
            shutil.copytree(source, target, ignore=IGNORED)
        elif source.exists():
            shutil.copyfile(source, target)


class BuildPyWithMim(build_py):
    """Used by wheels and by editable installs (PEP 660, pip >= 21.3)."""

    def run(self):
        """Build, then add ``.mim`` to what has been built."""
        super().run()
        editable = getattr(self, 'editable_mode', False)
        folder = ROOT if editable else Path(self.build_lib)
        add_mim_extension(folder / PACKAGE, editable)


if __name__ == '__main__':
    setup(
        name=PACKAGE,
        version=runpy.run_path(str(VERSION))['__version__'],
        description='Region-level CLIP training and evaluation on MMEngine '
        'and MMDetection',
        long_description=(ROOT / 'README.md').read_text(encoding='utf-8'),
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
        install_requires=parse_requirements('runtime'),
        extras_require={
            'mim': parse_requirements('mminstall'),
            'optional': parse_requirements('optional'),
            'tests': parse_requirements('tests'),
            'all': parse_requirements('optional')
            + parse_requirements('tests'),
        },
        cmdclass={'build_py': BuildPyWithMim},
        zip_safe=False,
    )
