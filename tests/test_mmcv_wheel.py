"""The cache of compiled mmcv wheels, and compiling itself."""

import importlib
import shutil
import sys
import sysconfig
import venv
import zipfile
from pathlib import Path

import pytest
import torch

ROOT = Path(__file__).resolve().parents[1]
CONSTRAINTS = ROOT / 'requirements' / 'constraints.txt'

# The scripts are no package: they run where nothing is installed yet.
sys.path.insert(0, str(ROOT / 'tools' / 'setup'))
console = importlib.import_module('console')
mmcv_wheel = importlib.import_module('mmcv_wheel')


def test_target_names_all_a_binary_depends_on():
    target = mmcv_wheel.probe(Path(sys.executable))
    assert target.torch == torch.__version__
    assert target.python == 'cp{}{}'.format(*sys.version_info[:2])
    key = target.key('2.3.6')
    assert key.startswith(f'2.3.6-torch{torch.__version__}-{target.python}-')
    assert key.endswith(target.accelerator)
    variants = [
        target._replace(**{field: 'other'}).key('2.3.6')
        for field in ('torch', 'python', 'platform', 'accelerator')
    ]
    assert len({key, target.key('2.3.7'), *variants}) == 6
    # A remark or a path is no property of the binary.
    assert target._replace(note='other', header='other').key('2.3.6') == key


def test_probe_without_torch_says_so(tmp_path):
    venv.create(tmp_path / 'env', with_pip=False)
    with pytest.raises(console.InstallError, match='torch cannot be imported'):
        mmcv_wheel.probe(tmp_path / 'env' / 'bin' / 'python')


def make_wheel(folder: Path, *names: str) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / 'onedl_mmcv-2.3.6-cp311-cp311-linux_x86_64.whl'
    with zipfile.ZipFile(path, 'w') as archive:
        for name in names:
            archive.writestr(name, b'content' * 1000)
    return path


def test_damaged_wheels_are_not_used(tmp_path, capsys):
    names = ('mmcv/__init__.py', 'mmcv/_ext.cpython-311-x86_64.so')
    assert mmcv_wheel.find_wheel(tmp_path / 'none') is None
    assert mmcv_wheel.find_wheel(make_wheel(tmp_path / 'a', *names).parent)
    lite = make_wheel(tmp_path / 'b', *names[:1])
    assert mmcv_wheel.find_wheel(lite.parent) is None
    cut = make_wheel(tmp_path / 'c', *names)
    cut.write_bytes(cut.read_bytes()[:5000])
    assert mmcv_wheel.find_wheel(cut.parent) is None
    flipped = make_wheel(tmp_path / 'd', *names)
    data = bytearray(flipped.read_bytes())
    data[2000] ^= 1
    flipped.write_bytes(data)
    assert mmcv_wheel.find_wheel(flipped.parent) is None
    assert capsys.readouterr().out.count('ignoring a damaged wheel') == 3


def test_cached_wheel_is_reused_for_its_torch_only(tmp_path, monkeypatch):
    """No wheel of another torch is taken: it is compiled anew instead."""
    monkeypatch.setenv('XDG_CACHE_HOME', str(tmp_path))
    target = mmcv_wheel.Target('2.12.1', 'cp311', 'linux_x86_64', 'cpu')
    wheel = make_wheel(
        tmp_path / 'harmoclip_mm' / 'wheels' / target.key('2.3.6'),
        'mmcv/_ext.so',
    )
    arguments = (Path(sys.executable), 'onedl-mmcv==2.3.6', '2.3.6')
    rest = (CONSTRAINTS, tmp_path / 'a.log')
    assert mmcv_wheel.ensure_wheel(*arguments, target, *rest) == wheel
    # Compiling starts with a look at the compiler.
    monkeypatch.setenv('CXX', 'no-such-compiler')
    with pytest.raises(console.InstallError, match='no C\\+\\+ compiler'):
        mmcv_wheel.ensure_wheel(
            *arguments, target._replace(torch='2.12.2'), *rest
        )


def test_missing_python_headers_are_named(tmp_path, monkeypatch):
    monkeypatch.setenv('CXX', sys.executable)
    header = tmp_path / 'Python.h'
    target = mmcv_wheel.Target('2', 'cp311', 'linux', 'cpu', '', str(header))
    with pytest.raises(console.InstallError, match='is missing: install'):
        mmcv_wheel.check_compiler(target)
    header.write_text('')
    mmcv_wheel.check_compiler(target)


@pytest.mark.skipif(
    shutil.which('g++') is None
    or not Path(sysconfig.get_path('include'), 'Python.h').is_file(),
    reason='needs g++ and the headers of Python',
)
@pytest.mark.slow
def test_operators_are_compiled_kept_and_resumed(
    tmp_path, monkeypatch, capsys
):
    """The way mmcv is built, on a package of its layout with two sources."""
    monkeypatch.setenv('XDG_CACHE_HOME', str(tmp_path))
    target = mmcv_wheel.probe(Path(sys.executable))
    key = target.key('2.3.6')
    cache = tmp_path / 'harmoclip_mm'
    # Where an interrupted build has left its source.
    source = cache / 'build' / key / 'mmcv'
    (source / 'csrc').mkdir(parents=True)
    (source / 'mmcv').mkdir()
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
        'CppExtension("mmcv._ext", ["csrc/a.cpp", "csrc/b.cpp"])])\n'
    )
    (source / 'csrc' / 'a.cpp').write_text('int one() { return 1; }\n')
    good = (
        '#include <Python.h>\nint one();\n'
        'static PyModuleDef def = {PyModuleDef_HEAD_INIT, "_ext"};\n'
        'PyMODINIT_FUNC PyInit__ext() { one(); '
        'return PyModule_Create(&def); }\n'
    )
    (source / 'csrc' / 'b.cpp').write_text('#error no compiler likes this\n')
    arguments = (
        *(Path(sys.executable), 'onedl-mmcv==2.3.6', '2.3.6', target),
        *(CONSTRAINTS, tmp_path / 'build.log'),
    )
    with pytest.raises(console.InstallError, match='compiling mmcv failed'):
        mmcv_wheel.ensure_wheel(*arguments)
    assert 'no compiler likes this' in capsys.readouterr().out
    assert not (cache / 'wheels').exists()
    assert mmcv_wheel.count_compiled(source) == (1, 2)
    (kept,) = source.glob('build/temp*/csrc/a.o')
    before = kept.stat().st_mtime_ns
    (source / 'csrc' / 'b.cpp').write_text(good)
    compiled = []
    build_wheel = mmcv_wheel.build_wheel

    def build_and_look(*args):
        wheel = build_wheel(*args)
        compiled.append(kept.stat().st_mtime_ns)
        return wheel

    monkeypatch.setattr(mmcv_wheel, 'build_wheel', build_and_look)
    wheel = mmcv_wheel.ensure_wheel(*arguments)
    assert compiled == [before]  # what was compiled has not been again
    assert wheel.parent == cache / 'wheels' / key
    assert mmcv_wheel.find_wheel(wheel.parent) == wheel
    assert not (cache / 'build' / key).exists()
    assert f'kept for next time in {wheel.parent}' in capsys.readouterr().out
    assert mmcv_wheel.ensure_wheel(*arguments) == wheel
    assert len(compiled) == 1
