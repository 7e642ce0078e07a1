"""The import check, against package trees made for each kind of failure."""

import os
import subprocess
import sys
from pathlib import Path

import packaging
import pytest

import harmoclip_mm
from harmoclip_mm.compat import (
    STACK,
    check_environment,
    check_operators,
)

ROOT = Path(harmoclip_mm.__file__).resolve().parents[1]
GOOD = {
    'mmengine': '0.10.7',
    'mmcv': '2.1.0',
    'mmdet': '3.3.0',
    'mmpretrain': '1.2.0',
}
FORKS = {module: fork for module, (_, fork, _) in STACK.items()}


def add_metadata(site: Path, distribution: str, version: str) -> None:
    folder = site / f'{distribution.replace("-", "_")}-{version}.dist-info'
    folder.mkdir(parents=True)
    (folder / 'METADATA').write_text(
        f'Metadata-Version: 2.1\nName: {distribution}\nVersion: {version}\n'
    )


def add_package(site: Path, module: str, version: str, fork: bool) -> None:
    """Install a package as upstream or the forks lay it out on disk."""
    folder = site / module
    folder.mkdir()
    # A check that imports the package, instead of reading its version, fails.
    (folder / '__init__.py').write_text('raise RuntimeError("imported")')
    code = f'__version__ = {version!r}\n'
    if fork:
        code = (
            'from importlib.metadata import version\n'
            f'__version__ = version({FORKS[module]!r})\n'
        )
    (folder / 'version.py').write_text(code)
    if module == 'mmcv':
        (folder / '_ext.abi3.so').write_bytes(b'')
    add_metadata(site, FORKS[module] if fork else module, version)


@pytest.fixture
def site(tmp_path):
    """Folder of installed packages, at first only what is not ours."""
    folder = tmp_path / 'site'
    folder.mkdir()
    (folder / 'packaging').symlink_to(Path(packaging.__file__).parent)
    return folder


def fill(site: Path, fork: bool, **versions) -> None:
    for module, version in {**GOOD, **versions}.items():
        if version is not None:
            add_package(site, module, version, fork)


def run_import(site: Path):
    """``import harmoclip_mm`` where only `site` is installed."""
    return subprocess.run(
        # -S: without the site-packages of the Python that runs the tests.
        [sys.executable, '-S', '-c', 'import harmoclip_mm'],
        env={**os.environ, 'PYTHONPATH': f'{site}{os.pathsep}{ROOT}'},
        cwd=site,
        capture_output=True,
        text=True,
    )


def import_error(site: Path) -> str:
    """Message of that import."""
    result = run_import(site)
    assert result.returncode == 1
    last = result.stderr.strip().splitlines()[-1]
    assert last.startswith('ImportError: harmoclip_mm '), result.stderr
    # One sentence: a full stop followed by a space would start a second one.
    assert '. ' not in last
    assert last.endswith('.')
    # The command is marked.
    assert last.count('`') >= 2
    return last


def test_installed_stack_passes():
    check_environment()
    assert harmoclip_mm.__version__ == harmoclip_mm.version.__version__
    assert harmoclip_mm.registry.MODELS.scope == 'harmoclip_mm'


def test_check_is_cheap():
    """Neither torch nor an OpenMMLab package is imported to check it."""
    code = (
        'import sys; from importlib.util import module_from_spec, '
        'spec_from_file_location as f; '
        f'spec = f("compat", {str(ROOT / "harmoclip_mm/compat.py")!r}); '
        'compat = module_from_spec(spec); spec.loader.exec_module(compat); '
        'compat.check_environment(); '
        'heavy = {"torch", "mmengine", "mmcv", "mmdet", "mmpretrain"}; '
        'assert not heavy & set(sys.modules), heavy & set(sys.modules)'
    )
    subprocess.run([sys.executable, '-c', code], check=True, cwd=ROOT)


@pytest.mark.parametrize('fork', [False, True])
def test_good_trees_pass_the_check(site, fork):
    """Both families are accepted; the import fails later, in mmengine."""
    fill(site, fork)
    assert 'RuntimeError: imported' in run_import(site).stderr


@pytest.mark.parametrize('module', sorted(GOOD))
def test_missing(site, module):
    fill(site, fork=True, **{module: None})
    message = import_error(site)
    assert f'{module}>=' in message
    assert f'"{FORKS[module]}>=' in message


@pytest.mark.parametrize(
    'module, version',
    [
        ('mmengine', '0.9.1'),
        ('mmcv', '2.0.1'),
        ('mmdet', '3.2.0'),
        ('mmpretrain', '1.1.1'),
        ('mmengine', '1.0.0'),
        ('mmcv', '3.0.0rc1'),
        ('mmdet', '4.0.0'),
        ('mmpretrain', '2.0.0'),
    ],
)
@pytest.mark.parametrize('fork', [False, True])
def test_too_old_or_too_new(site, module, version, fork):
    fill(site, fork, **{module: version})
    message = import_error(site)
    assert version in message
    name = FORKS[module] if fork else module
    assert f'"{name}>=' in message
    # A remedy that names the other family would overwrite its files.
    assert ('onedl-' in message) is fork


@pytest.mark.parametrize('lite', [False, True])
def test_mmcv_without_operators(site, lite):
    fill(site, fork=False)
    (site / 'mmcv' / '_ext.abi3.so').unlink()
    if lite:
        (site / 'mmcv-2.1.0.dist-info').rename(site / 'old')
        add_metadata(site, 'mmcv-lite', '2.1.0')
    message = import_error(site)
    assert 'pip uninstall -y mmcv-lite' in message
    assert 'MMCV_WITH_OPS=1 pip install --no-build-isolation' in message
    assert '"mmcv>=2.1,<3"' in message


def test_mmcv_of_another_torch(tmp_path, monkeypatch):
    """Operators that the dynamic linker refuses are told in one sentence."""
    (tmp_path / 'mmcv').mkdir()
    (tmp_path / 'mmcv' / '__init__.py').write_text('')
    (tmp_path / 'mmcv' / '_ext.py').write_text(
        'raise ImportError("undefined symbol: _ZN5torch3jit17parseSchema")'
    )
    for name in [name for name in sys.modules if name.startswith('mmcv')]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(ImportError, match='--force-reinstall') as error:
        check_operators()
    assert 'undefined symbol' in str(error.value)


def test_operators_load():
    check_operators()


@pytest.mark.parametrize(
    'fork, version, works',
    [
        (True, '5.0.0', False),
        (True, '5.0.0rc1', False),
        (True, '6.1', False),
        (True, '4.57.6', True),
        (False, '4.52.0', False),
        (False, '4.51.3', True),
    ],
)
def test_transformers_that_break_mmpretrain(site, fork, version, works):
    fill(site, fork)
    add_metadata(site, 'transformers', version)
    result = run_import(site)
    assert works == ('RuntimeError: imported' in result.stderr)
    if not works:
        message = import_error(site)
        assert f'transformers {version}' in message
        assert f'<{5 if fork else 4.52}"' in message


def test_stray_folder_is_not_a_package(site):
    """A checkout's folder named like the package is no installation."""
    fill(site, fork=True, mmdet=None)
    (site / 'mmdet' / 'configs').mkdir(parents=True)
    assert 'mmdet>=3.3' in import_error(site)


def test_checkout_tells_its_version_itself(site):
    """A source tree on the path has no metadata."""
    fill(site, fork=False, mmdet=None)
    (site / 'mmdet').mkdir()
    (site / 'mmdet' / '__init__.py').write_text('__version__ = "3.2.0"')
    assert '3.2.0' in import_error(site)
    (site / 'mmdet' / '__init__.py').write_text('__version__ = "3.3.0"')
    assert 'RuntimeError: imported' in run_import(site).stderr
