"""The cache of compiled mmcv wheels, and how mmcv is compiled."""

import re
import shutil
import subprocess
import sys
import sysconfig
import tarfile
from pathlib import Path

import install
import mmcv_wheel
import pytest
import torch
from torch.utils import cpp_extension

CSRC = 'mmcv/ops/csrc/pytorch'


@pytest.fixture
def cache(tmp_path, monkeypatch):
    """A cache of wheels of its own."""
    monkeypatch.setattr(mmcv_wheel, 'CACHE', tmp_path / 'cache')
    return tmp_path / 'cache'


def test_key_names_all_a_binary_depends_on(monkeypatch):
    key, url = mmcv_wheel.describe_target('onedl-mmcv', '2.3.6')
    python = 'cp{}{}'.format(*sys.version_info[:2])
    platform = sysconfig.get_platform().replace('-', '_').replace('.', '_')
    start = f'2.3.6-torch{torch.__version__}-{python}-{platform}-'
    assert key.startswith(start)
    assert key[len(start) :] == 'cpu' or key[len(start) :].startswith('cuda')
    major, minor = torch.__version__.split('.')[:2]
    assert f'-torch{major}{minor}0/' in url
    monkeypatch.setattr(torch, '__version__', '2.1.2+cu121')
    other, url = mmcv_wheel.describe_target('mmcv', '2.1.0')
    assert other.startswith('2.1.0-torch2.1.2+cu121-')
    assert '/torch2.1.0/' in url


@pytest.mark.parametrize(
    'nvcc, target', [('13.1', 'cuda13.1'), ('12.8', 'cpu')]
)
def test_cuda_is_compiled_with_its_nvcc_only(
    tmp_path, monkeypatch, nvcc, target
):
    script = tmp_path / 'bin' / 'nvcc'
    script.parent.mkdir()
    script.write_text(f'#!/bin/sh\necho "tools, release {nvcc}, V{nvcc}.88"\n')
    script.chmod(0o755)
    monkeypatch.setattr(cpp_extension, 'CUDA_HOME', str(tmp_path))
    monkeypatch.setattr(torch.version, 'cuda', '13.0')
    monkeypatch.setattr(torch.cuda, 'is_available', lambda: False)
    monkeypatch.delenv('FORCE_CUDA', raising=False)
    key, url = mmcv_wheel.describe_target('onedl-mmcv', '2.3.6')
    assert key.endswith('-cpu')
    assert '/cu130-torch' in url
    monkeypatch.setenv('FORCE_CUDA', '1')
    key, _ = mmcv_wheel.describe_target('onedl-mmcv', '2.3.6')
    assert key.endswith(f'-{target}')


SOURCES = {
    'pybind.cpp': 'void bind() {}\n' + '// long\n' * 99,
    'nms.cpp': '#include "nms.hpp"\nint nms(int a) {\n  return a;\n}\n',
    'roi.cpp': '#include "nms.hpp"\nint roi(int a) {\n  return nms(a);\n}\n',
    'cpu/a.cpp': (
        '#define min(a, b) ((a) < (b) ? (a) : (b))\n'
        'template <typename T>\nT sample(T a,\n         T b) {\n'
        '  return min(a, b);\n}\nint use_a() { return sample(1, 2); }\n'
    ),
    'cpu/b.cpp': (
        'template <typename T>\nT sample(T a, T b) {\n  return a;\n}\n'
        'struct Calc {\n  int w;\n};\nint use_b() { return sample(1, 2); }\n'
    ),
    'cpu/c.cpp': (
        'struct Calc {\n  float w;\n};\n'
        'struct min {\n  int v;\n};\nint use_c() { return 0; }\n'
    ),
}


def write_sources(folder):
    (folder / 'cpu').mkdir(parents=True)
    (folder / 'nms.hpp').write_text('#pragma once\nint nms(int a);\n')
    for name, text in SOURCES.items():
        (folder / name).write_text(text)


@pytest.mark.parametrize('files', [1, 2, 4])
def test_sources_are_united_where_they_do_not_clash(tmp_path, files):
    write_sources(tmp_path)
    mmcv_wheel.unite(tmp_path, files)
    united = sorted(tmp_path.rglob('*.cpp'))
    # sample() and Calc exist twice, so one file is not enough.
    assert len(united) == max(files, 2)
    included = []
    for path in united:
        assert path.parent == tmp_path
        included += re.findall(r'#include "(.*)\.inc"', path.read_text())
    assert sorted(included) == sorted(SOURCES)
    # The largest leads the file that ninja starts with.
    assert included[0] == 'pybind.cpp'
    assert united[0].name == 'united_0.cpp'
    if shutil.which('g++'):
        objects = [str(path) for path in united]
        subprocess.run(
            ['g++', '-shared', '-fPIC', *objects, '-o', str(tmp_path / 'x')],
            check=True,
        )


class FakeRun:
    """Stands for install.run: does what pip would leave on the disk."""

    def __init__(self, tmp_path, published=False, loads=True, fails=''):
        self.tmp_path = tmp_path
        self.published = published
        self.loads = iter(loads) if isinstance(loads, list) else None
        self.fails = fails
        self.done = []
        self.env = {}

    def __call__(self, label, *command, check=True, **env):
        command = [str(part) for part in command]
        if 'import torch, mmcv._ext' in command:
            self.done.append('load')
            works = self.loads is None or next(self.loads)
            if check and not works:
                raise SystemExit(f'{label} failed')
            return works
        action = command[3]
        if '--only-binary=:all:' in command:
            action = 'published'
        self.done.append(action)
        if action == self.fails:
            raise KeyboardInterrupt
        if action == 'download':
            tree = self.tmp_path / 'onedl_mmcv-2.3.6'
            shutil.rmtree(tree, ignore_errors=True)
            write_sources(tree / CSRC)
            archive = Path(command[command.index('-d') + 1]) / 'mmcv.tar.gz'
            archive.parent.mkdir(parents=True)
            with tarfile.open(archive, 'w:gz') as stream:
                stream.add(tree, tree.name)
        elif action == 'wheel' or (action == 'published' and self.published):
            self.env = env
            option = '-w' if action == 'wheel' else '-d'
            folder = Path(command[command.index(option) + 1])
            folder.mkdir(parents=True)
            (folder / 'onedl_mmcv-2.3.6-cp311.whl').write_text(action)
        return action != 'published' or self.published

    def wheel(self, cache):
        (wheel,) = cache.rglob('*.whl')
        key, _ = mmcv_wheel.describe_target('onedl-mmcv', '2.3.6')
        assert wheel.parent == cache / 'wheels' / key
        assert not (cache / 'build' / key).exists()
        return wheel.read_text()


REQUIREMENT = 'onedl-mmcv==2.3.6'
COMPILED = ['published', 'download', 'wheel', 'install', 'load']


def test_compiled_once_then_taken_from_the_cache(tmp_path, cache):
    run = FakeRun(tmp_path)
    mmcv_wheel.install_mmcv(REQUIREMENT, run)
    assert run.done == COMPILED
    assert run.wheel(cache) == 'wheel'
    # Without debugging symbols, which double the time.
    assert run.env['CFLAGS'].endswith('-g0 -O2')
    assert run.env['MMCV_WITH_OPS'] == '1'
    assert run.env['PATH'].startswith(str(Path(sys.executable).parent))
    run = FakeRun(tmp_path)
    mmcv_wheel.install_mmcv(REQUIREMENT, run)
    assert run.done == ['install', 'load']
    assert run.wheel(cache) == 'wheel'


def test_published_wheel_is_preferred(tmp_path, cache):
    run = FakeRun(tmp_path, published=True)
    mmcv_wheel.install_mmcv(REQUIREMENT, run)
    assert run.done == ['published', 'install', 'load']
    assert run.wheel(cache) == 'published'


def test_wheel_that_does_not_load_is_replaced(tmp_path, cache):
    """Published for another libc, say, or damaged in the cache."""
    run = FakeRun(tmp_path, published=True, loads=[False, True])
    mmcv_wheel.install_mmcv(REQUIREMENT, run)
    assert run.done == [*COMPILED[:1], 'install', 'load', *COMPILED[1:]]
    assert run.wheel(cache) == 'wheel'
    run = FakeRun(tmp_path, published=True, loads=[False, True])
    mmcv_wheel.install_mmcv(REQUIREMENT, run)
    assert run.done == ['install', 'load', 'published', 'install', 'load']
    assert run.wheel(cache) == 'published'
    run = FakeRun(tmp_path, loads=[False, False, False])
    with pytest.raises(SystemExit, match='load'):
        mmcv_wheel.install_mmcv(REQUIREMENT, run)


def test_wheel_of_another_torch_is_not_taken(tmp_path, cache, monkeypatch):
    mmcv_wheel.install_mmcv(REQUIREMENT, FakeRun(tmp_path))
    monkeypatch.setattr(torch, '__version__', '2.12.9')
    run = FakeRun(tmp_path)
    mmcv_wheel.install_mmcv(REQUIREMENT, run)
    assert run.done == COMPILED


def test_interrupted_build_goes_on(tmp_path, cache):
    key, _ = mmcv_wheel.describe_target('onedl-mmcv', '2.3.6')
    source = cache / 'build' / key / 'mmcv'
    with pytest.raises(KeyboardInterrupt):
        mmcv_wheel.install_mmcv(
            REQUIREMENT, FakeRun(tmp_path, fails='download')
        )
    assert not source.exists()
    run = FakeRun(tmp_path, fails='wheel')
    with pytest.raises(KeyboardInterrupt):
        mmcv_wheel.install_mmcv(REQUIREMENT, run)
    assert (source / CSRC / 'united_0.cpp').exists() == key.endswith('-cpu')
    (source / 'build').mkdir()  # what has been compiled is not again
    run = FakeRun(tmp_path)
    mmcv_wheel.install_mmcv(REQUIREMENT, run)
    assert run.done == ['published', 'wheel', 'install', 'load']
    assert run.wheel(cache) == 'wheel'


def test_cuda_build_is_left_as_it_is(tmp_path):
    run = FakeRun(tmp_path)
    mmcv_wheel.compile_wheel(REQUIREMENT, tmp_path / 'build', False, run)
    source = tmp_path / 'build' / 'mmcv' / CSRC
    assert {path.name for path in source.glob('*.cpp')} == {
        name for name in SOURCES if '/' not in name
    }
    assert 'CUDA_VISIBLE_DEVICES' not in run.env
    assert '-g0' in run.env['CFLAGS']


@pytest.mark.skipif(
    shutil.which('g++') is None
    or not Path(sysconfig.get_path('include'), 'Python.h').is_file(),
    reason='needs g++ and the headers of Python',
)
@pytest.mark.slow
def test_what_is_compiled_stays(tmp_path, monkeypatch, capsys):
    """pip, torch and ninja do their part, on a package of two sources."""
    monkeypatch.setattr(install, 'LOG', tmp_path / 'install.log')
    source = tmp_path / 'build' / 'mmcv'
    (source / 'mmcv').mkdir(parents=True)
    (source / 'mmcv' / '__init__.py').write_text('')
    (source / 'pyproject.toml').write_text(
        '[build-system]\nrequires = ["setuptools"]\n'
        'build-backend = "setuptools.build_meta"\n'
    )
    (source / 'setup.py').write_text(
        'from setuptools import setup\n'
        'from torch.utils.cpp_extension import BuildExtension, CppExtension\n'
        'setup(name="onedl-mmcv", version="2.3.6", packages=["mmcv"], '
        'cmdclass={"build_ext": BuildExtension}, ext_modules=['
        'CppExtension("mmcv._ext", ["a.cpp", "b.cpp"])])\n'
    )
    (source / 'a.cpp').write_text('int one() { return 1; }\n')
    (source / 'b.cpp').write_text('#error no compiler likes this\n')
    arguments = (REQUIREMENT, tmp_path / 'build', True, install.run)
    with pytest.raises(SystemExit, match='compiling'):
        mmcv_wheel.compile_wheel(*arguments)
    assert 'no compiler likes this' in capsys.readouterr().out
    (kept,) = source.glob('build/temp*/a.o')
    before = kept.stat().st_mtime_ns
    (source / 'b.cpp').write_text(
        '#include <Python.h>\nint one();\n'
        'static PyModuleDef def = {PyModuleDef_HEAD_INIT, "_ext"};\n'
        'PyMODINIT_FUNC PyInit__ext() { one(); '
        'return PyModule_Create(&def); }\n'
    )
    mmcv_wheel.compile_wheel(*arguments)
    assert kept.stat().st_mtime_ns == before
    assert len(list((tmp_path / 'build' / 'wheel').glob('*.whl'))) == 1
    assert '[1/1] done' in capsys.readouterr().out
    assert '-g0 -O2' in install.LOG.read_text()
