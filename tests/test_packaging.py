"""What pip gets: metadata, ``.mim``, package data; and the house rules."""

import ast
import re
import shutil
import subprocess
import sys
import sysconfig
import venv
import zipfile
from email.parser import Parser
from pathlib import Path

import pytest
import yaml
from packaging.requirements import Requirement

from harmoclip_mm.version import __version__

ROOT = Path(__file__).resolve().parents[1]
# What must not come with the package: its users have their own.
NOT_INSTALLED = re.compile(r'^(torch|mm|onedl|open-clip|open_clip|timm)')


def source_files(*suffixes):
    """Files a developer writes, wherever the tests run."""
    folders = ('harmoclip_mm', 'configs', 'tools', 'tests', 'docs')
    folders += ('projects',)
    paths = [path for path in ROOT.iterdir() if path.is_file()]
    for folder in folders:
        paths += (ROOT / folder).rglob('*')
    return [
        path
        for path in sorted(paths)
        if path.suffix in suffixes
        and path.is_file()
        and not {'.mim', '__pycache__'} & set(path.parts)
    ]


@pytest.fixture(scope='module')
def checkout(tmp_path_factory):
    """A copy of the repository, so that nothing is built in the real one."""
    copy = tmp_path_factory.mktemp('packaging') / 'checkout'
    ignored = shutil.ignore_patterns(
        *('.git', '.venv*', 'work_dirs', 'data.nosync', '.mim', 'build'),
        *('*.egg-info', '__pycache__', '.*_cache'),
    )
    copy.mkdir()
    for path in ROOT.iterdir():
        if path.is_file():
            shutil.copy(path, copy)
    for name in ('harmoclip_mm', 'configs', 'tools', 'requirements'):
        if (ROOT / name).is_dir():
            shutil.copytree(ROOT / name, copy / name, ignore=ignored)
    # Both packaging tests need configs, whatever the state of the zoo.
    (copy / 'configs' / 'folder').mkdir(parents=True)
    (copy / 'configs' / 'folder' / 'probe.py').write_text('a = 1\n')
    return copy


def pip(*arguments, cwd):
    result = subprocess.run(
        [sys.executable, '-m', 'pip', '--disable-pip-version-check']
        + [str(argument) for argument in arguments],
        cwd=cwd,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    assert result.returncode == 0, result.stdout


@pytest.mark.slow
def test_wheel(checkout, tmp_path):
    pip(
        *('wheel', '--no-deps', '--no-build-isolation', '-w', tmp_path, '.'),
        cwd=checkout,
    )
    (path,) = tmp_path.glob('harmoclip_mm-*.whl')
    with zipfile.ZipFile(path) as wheel:
        names = set(wheel.namelist())
        (metadata,) = (name for name in names if name.endswith('/METADATA'))
        metadata = Parser().parsestr(wheel.read(metadata).decode())
    assert 'harmoclip_mm/.mim/configs/folder/probe.py' in names
    assert 'harmoclip_mm/.mim/model-index.yml' in names
    assert 'harmoclip_mm/.mim/tools/setup/install.py' in names
    assert not any(name.endswith('.pyc') for name in names)
    # Nothing beside the package: no top-level `tools`, `tests`, `configs`.
    tops = {name.split('/')[0] for name in names}
    assert tops == {'harmoclip_mm', f'harmoclip_mm-{__version__}.dist-info'}
    for path in (ROOT / 'harmoclip_mm').rglob('*'):
        relative = path.relative_to(ROOT).as_posix()
        if path.is_file() and not re.search(r'__pycache__|\.mim', relative):
            assert relative in names
    assert metadata['Version'] == __version__
    assert metadata['Requires-Python'] == '>=3.8'
    required = [
        requirement
        for requirement in map(
            Requirement, metadata.get_all('Requires-Dist', [])
        )
        if 'extra' not in str(requirement.marker)
    ]
    assert {'numpy', 'tokenizers'} <= {item.name for item in required}
    assert not [item for item in required if NOT_INSTALLED.match(item.name)]
    assert set(metadata.get_all('Provides-Extra')) == {
        *('all', 'mim', 'optional', 'tests'),
    }
    assert not (checkout / 'harmoclip_mm' / '.mim').exists()


@pytest.mark.slow
def test_sdist_holds_what_its_wheel_needs(checkout, tmp_path):
    subprocess.run(
        [sys.executable, 'setup.py', '-q', 'sdist', '-d', str(tmp_path)],
        cwd=checkout,
        check=True,
    )
    (archive,) = tmp_path.glob('*.tar.gz')
    pip(
        *('wheel', '--no-deps', '--no-build-isolation', '-w', tmp_path),
        archive,
        cwd=tmp_path,
    )
    (path,) = tmp_path.glob('harmoclip_mm-*.whl')
    with zipfile.ZipFile(path) as wheel:
        names = set(wheel.namelist())
    assert 'harmoclip_mm/.mim/configs/folder/probe.py' in names
    assert 'harmoclip_mm/.mim/tools/setup/install.py' in names


@pytest.mark.slow
def test_editable_install_has_mim(checkout, tmp_path):
    """``pip install -e`` links ``.mim``, so that edits are seen at once."""
    venv.create(tmp_path / 'env', with_pip=False)
    python = tmp_path / 'env' / 'bin' / 'python'
    (site,) = (tmp_path / 'env').glob('lib/python*/site-packages')
    # The new environment sees the packages of this one (setuptools).
    (site / 'outer.pth').write_text(sysconfig.get_path('purelib'))
    pip(
        *('--python', python, 'install', '--no-deps'),
        *('--no-build-isolation', '-e', checkout),
        cwd=tmp_path,
    )
    code = 'import harmoclip_mm; print(harmoclip_mm.__path__[0])'
    found = subprocess.run(
        [str(python), '-I', '-W', 'ignore', '-c', code],
        check=True,
        cwd=tmp_path,
        stdout=subprocess.PIPE,
        text=True,
    ).stdout.strip()
    assert Path(found).resolve() == (checkout / 'harmoclip_mm').resolve()
    mim = checkout / 'harmoclip_mm' / '.mim'
    for name in ('configs', 'tools', 'model-index.yml'):
        assert (mim / name).is_symlink()
        assert (mim / name).resolve() == (checkout / name).resolve()
    assert (mim / 'configs' / 'folder' / 'probe.py').is_file()
    # A second time, as `make install` does after a change of requirements.
    pip(
        *('--python', python, 'install', '--no-deps'),
        *('--no-build-isolation', '-e', checkout),
        cwd=tmp_path,
    )
    assert (mim / 'configs').is_symlink()


def test_metafiles_name_the_configs_that_train():
    """OpenMIM finds them by the index; each folder's README has them too."""
    index = yaml.safe_load((ROOT / 'model-index.yml').read_text())
    named = set()
    for name in index['Import']:
        content = yaml.safe_load((ROOT / name).read_text())
        collections = {each['Name'] for each in content['Collections']}
        for each in content['Collections']:
            assert (ROOT / each['README']).is_file()
            assert (ROOT / each['Code']['URL']).is_file()
        for model in content['Models']:
            assert model['In Collection'] in collections
            named.add(ROOT / model['Config'])
    configs = set((ROOT / 'configs').glob('*.py'))
    configs |= set((ROOT / 'configs').glob('[!_]*/*.py'))
    trained = {p for p in configs if p.parent.name != 'evaluation'}
    # no part of the zoo: what a CPU trains, and the template
    others = ('tiny', 'own-data')
    assert named == {
        p for p in trained if not any(each in p.name for each in others)
    }
    for path in configs:
        start = re.split(r'_8xb|_coco|\.py', path.name)[0]
        assert start in (path.parent / 'README.md').read_text(), path


def test_changelog_names_the_version():
    assert f'## {__version__}' in (ROOT / 'CHANGELOG.md').read_text()


def test_code_runs_on_python_3_8():
    """Syntax only; what the libraries offer is up to their versions."""
    for path in source_files('.py'):
        ast.parse(path.read_text(), str(path), feature_version=(3, 8))


def test_no_path_of_a_developer():
    # Split, so that this file does not match itself.
    pattern = re.compile('/(?:' + 'home|root|Users)/' + r'\w')
    suffixes = ('.py', '.md', '.txt', '.yml', '.yaml', '.toml', '.sh', '.json')
    found = [
        f'{path.relative_to(ROOT)}:{number}'
        for path in source_files(*suffixes)
        for number, line in enumerate(path.read_text().splitlines(), 1)
        if pattern.search(line)
    ]
    assert found == []
