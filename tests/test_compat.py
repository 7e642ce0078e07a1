"""The import check, against package trees made for each kind of failure."""

import os
import subprocess
import sys
from pathlib import Path

import packaging
import pytest

import harmoclip_mm
from harmoclip_mm.compat import REQUIREMENTS, check_environment, check_lvis
from harmoclip_mm.errors import UsageError

ROOT = Path(harmoclip_mm.__file__).resolve().parents[1]
GOOD = {
    'mmengine': '0.10.7',
    'mmcv': '2.1.0',
    'mmdet': '3.3.0',
    'mmpretrain': '1.2.0',
}
FORKS = {item.module: item.fork for item in REQUIREMENTS}


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


def import_error(site: Path) -> str:
    """Message of ``import harmoclip_mm`` where only `site` is installed."""
    result = subprocess.run(
        # -S: without the site-packages of the Python that runs the tests.
        [sys.executable, '-S', '-c', 'import harmoclip_mm'],
        env={**os.environ, 'PYTHONPATH': f'{site}{os.pathsep}{ROOT}'},
        cwd=site,
        capture_output=True,
        text=True,
    )
    assert result.returncode == 1
    last = result.stderr.strip().splitlines()[-1]
    assert last.startswith('ImportError: harmoclip_mm '), result.stderr
    # One sentence: a full stop followed by a space would start a second one.
    assert '. ' not in last
    assert last.endswith('.')
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
    result = subprocess.run(
        [sys.executable, '-S', '-c', 'import harmoclip_mm'],
        env={**os.environ, 'PYTHONPATH': f'{site}{os.pathsep}{ROOT}'},
        stderr=subprocess.PIPE,
        text=True,
    )
    assert 'RuntimeError: imported' in result.stderr


@pytest.mark.parametrize('module', sorted(GOOD))
def test_missing(site, module):
    fill(site, fork=True, **{module: None})
    message = import_error(site)
    assert f'because {module}>=' in message
    assert 'is not installed' in message
    assert f'pip install {"" if module != "mmcv" else "--no-bu"}' in message
    assert f'"{FORKS[module]}>=' in message


def test_all_missing_is_told_at_once(site):
    message = import_error(site)
    for requirement in REQUIREMENTS:
        assert f'"{requirement.fork}{requirement.versions}"' in message


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
    assert f'is needed but {version} is installed' in message
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
    assert 'mmcv 2.1.0 lacks the compiled operators' in message
    assert f'pip uninstall -y {"mmcv-lite" if lite else "mmcv"} && ' in message
    assert 'MMCV_WITH_OPS=1 pip install --no-build-isolation' in message
    assert '"mmcv>=2.1,<3"' in message


@pytest.mark.parametrize('version', ['5.0.0', '5.0.0rc1', '6.1'])
def test_transformers_5(site, version):
    fill(site, fork=True)
    (site / 'transformers').mkdir()
    (site / 'transformers' / '__init__.py').write_text('')
    add_metadata(site, 'transformers', version)
    message = import_error(site)
    assert f'mmpretrain cannot be imported beside transformers {version}' in (
        message
    )
    assert 'pip install "transformers>=4.40,<5"' in message


def test_stray_folder_is_not_a_package(site):
    """A checkout's folder named like the package is no installation."""
    fill(site, fork=True, mmdet=None)
    (site / 'mmdet' / 'configs').mkdir(parents=True)
    assert 'mmdet>=3.3,<4 is not installed' in import_error(site)


def test_unreadable_version(site):
    fill(site, fork=False, mmdet='3.3.0')
    (site / 'mmdet' / 'version.py').write_text('__version__ = "unknown"')
    message = import_error(site)
    assert 'version of the one in' in message
    assert '"mmdet>=3.3,<4"' in message


def test_old_python():
    with pytest.raises(
        ImportError, match=r'needs Python >= 3\.8 but runs on 3\.7'
    ):
        check_environment(python=(3, 7, 4))


def test_registry_is_known_to_any_config(tmp_path):
    """``custom_imports`` of the package is enough for ``harmoclip_mm.X``."""
    config = tmp_path / 'config.py'
    config.write_text("custom_imports = dict(imports=['harmoclip_mm'])\n")
    code = (
        'import sys\n'
        'from mmdet.registry import METRICS\n'
        'from mmengine.config import Config\n'
        'Config.fromfile(sys.argv[1])\n'
        'ours = sys.modules["harmoclip_mm"].registry.METRICS\n'
        'ours.register_module("Probe", module=dict)\n'
        'assert METRICS.build(dict(type="harmoclip_mm.Probe", a=1)) == '
        'dict(a=1)\n'
    )
    subprocess.run(
        [sys.executable, '-W', 'ignore', '-c', code, str(config)],
        check=True,
        env={**os.environ, 'PYTHONPATH': str(ROOT)},
    )


def test_missing_lvis_names_the_command(monkeypatch):
    monkeypatch.setattr('harmoclip_mm.compat.find_spec', lambda name: None)
    with pytest.raises(UsageError, match='run `pip install lvis`'):
        check_lvis()
    monkeypatch.setattr('harmoclip_mm.compat.find_spec', lambda name: name)
    check_lvis()
