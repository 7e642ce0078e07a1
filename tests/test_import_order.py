"""Keeps the layered order of the package, see docs/architecture.md.

Every import of every file is resolved without running the file, those inside
functions too: what a layer may know about does not depend on when it asks.
"""

import ast
import re
from pathlib import Path
from typing import Dict, Iterator, List, Optional, Tuple

import pytest

PACKAGE = 'harmoclip_mm'
ROOT = Path(__file__).resolve().parents[1]

# Lower layers first; a module may import from its own layer and from lower
# ones. Names are relative to the package and cover all below them.
LAYERS: Tuple[Tuple[str, ...], ...] = (
    (
        *('version', 'compat', 'errors', 'files', 'registry', 'packed_list'),
        *('coco_file', 'command_line', 'pixels'),
        'unpickling',
    ),
    ('text',),
    ('datasets', 'evaluation.functional'),
    ('models.utils', 'models.layers', 'models.losses'),
    # Checkpoints are names and tensors: towers load themselves from there.
    ('models.checkpoints',),
    ('models.towers',),
    (
        'models.region_extractors',
        'models.necks',
        'models.data_preprocessors',
    ),
    ('models.heads', 'models.classifiers'),
    ('models.predictors',),
    ('models.clip', 'models.detection'),
    ('engine', 'evaluation.metrics', 'visualization'),
    ('apis',),
    ('benchmarking',),
)
# Samples connect them, code does not, in either direction.
STRANGERS = (('models', 'datasets'),)
# Research uses the package, which does not know it.
PROJECTS = ('projects', *(p.name for p in (ROOT / 'projects').iterdir()))
# Text is data: it has no layers.
NO_TORCH_NN = ('text',)
# The CLIP is a guest: only these rooms know its family.
GUESTS = ('open_clip', 'timm')
HOSTS = ('models.towers', 'models.checkpoints')


def covers(name: str, module: str) -> bool:
    """Whether `module` is `name` or lies below it."""
    return module == name or module.startswith(f'{name}.')


def layer_of(module: str) -> Optional[int]:
    """Layer of a module, relative to the package ('' is the package).

    A package that spans layers, such as ``models``, counts as the highest of
    them, since importing it imports them all.
    """
    if module == '':
        return len(LAYERS)
    own = [
        index
        for index, names in enumerate(LAYERS)
        if any(covers(name, module) for name in names)
    ]
    if own:
        return own[0]
    below = [
        index
        for index, names in enumerate(LAYERS)
        if any(covers(module, name) for name in names)
    ]
    return max(below) if below else None


def find_modules(package: Path) -> Dict[str, Path]:
    """Files of a package by module name relative to it."""
    modules = {}
    for path in sorted(package.rglob('*.py')):
        parts = path.relative_to(package).with_suffix('').parts
        if any(part.startswith('.') for part in parts):
            continue  # .mim holds links to tools and configs
        if parts[-1] == '__init__':
            parts = parts[:-1]
        modules['.'.join(parts)] = path
    return modules


def find_imports(
    module: str, path: Path, modules: Dict[str, Path]
) -> Iterator[Tuple[int, str]]:
    """Yield line and absolute name of everything a file imports.

    ``from package import name`` yields ``package.name`` where that is a module
    of ours, else ``package``.
    """
    parts = [PACKAGE, *(module.split('.') if module else [])]
    if path.name != '__init__.py':
        parts = parts[:-1]
    for node in ast.walk(ast.parse(path.read_text(encoding='utf-8'))):
        if isinstance(node, ast.Import):
            for alias in node.names:
                yield node.lineno, alias.name
        elif isinstance(node, ast.ImportFrom):
            base = node.module or ''
            if node.level:
                start = parts[: len(parts) - node.level + 1]
                base = '.'.join([*start, *([base] if base else [])])
            for alias in node.names:
                name = f'{base}.{alias.name}'
                inner = name[len(PACKAGE) + 1 :]
                ours = covers(PACKAGE, base) and inner not in modules
                yield node.lineno, base if ours else name
        elif isinstance(node, ast.Attribute):
            value = node.value
            if isinstance(value, ast.Name) and value.id == 'torch':
                yield node.lineno, f'torch.{node.attr}'


def find_registered(modules: Dict[str, Path]) -> Dict[str, str]:
    """Modules of the classes that registries know, by class name."""
    return {
        node.name: module
        for module, path in modules.items()
        for node in ast.walk(ast.parse(path.read_text(encoding='utf-8')))
        if isinstance(node, ast.ClassDef)
        and any('register_module' in ast.dump(d) for d in node.decorator_list)
    }


def find_named(
    path: Path, registered: Dict[str, str]
) -> Iterator[Tuple[int, str]]:
    """Yield line and module of what the strings of a file name: modules of
    ours, and classes that a registry builds by name."""
    for node in ast.walk(ast.parse(path.read_text(encoding='utf-8'))):
        if isinstance(node, ast.Constant) and isinstance(node.value, str):
            name = node.value[len(PACKAGE) + 1 :]
            scoped = node.value.startswith(f'{PACKAGE}.') and name
            target = registered.get(name if scoped else node.value)
            if target is None and scoped and layer_of(name) is not None:
                target = name
            if target is not None:
                yield node.lineno, f'{PACKAGE}.{target}'


def find_violations(package: Path) -> List[str]:
    """One line for each import that breaks the order."""
    modules = find_modules(package)
    registered = find_registered(modules)
    found = []
    for module, path in modules.items():
        layer = layer_of(module)
        if layer is None:
            found.append(f'{path}: {module} has no place in LAYERS')
            continue
        for line, name in (
            *find_imports(module, path, modules),
            *find_named(path, registered),
        ):
            here = f'{path}:{line}: {module or PACKAGE} imports {name}'
            if any(covers(text, module) for text in NO_TORCH_NN) and covers(
                'torch.nn', name
            ):
                found.append(f'{here}, but has no torch.nn')
            if not any(covers(host, module) for host in HOSTS) and any(
                covers(guest, name) for guest in GUESTS
            ):
                found.append(f'{here}, which only {" and ".join(HOSTS)} may')
            if any(covers(project, name) for project in PROJECTS):
                found.append(f'{here}, a project that uses the package')
            if not covers(PACKAGE, name):
                continue
            target = name[len(PACKAGE) + 1 :]
            # A package gathers what lies below it.
            if path.name == '__init__.py' and covers(module, target):
                continue
            if module == '':
                continue
            target_layer = layer_of(target)
            if target_layer is None:
                found.append(f'{here}, which has no place in LAYERS')
            elif target_layer > layer:
                found.append(f'{here}, which is higher')
            for pair in STRANGERS:
                ends = [
                    next((end for end in pair if covers(end, side)), None)
                    for side in (module, target)
                ]
                if None not in ends and ends[0] != ends[1]:
                    found.append(f'{here}: they never import each other')
    return found


def test_package_keeps_the_order():
    modules = find_modules(ROOT / PACKAGE)
    assert {'', 'registry', 'models.heads', 'datasets'} <= set(modules)
    assert find_violations(ROOT / PACKAGE) == []


def test_package_names_no_project():
    """Nor by a string: no file, folder, vocabulary or variable of theirs."""
    names = '|'.join(PROJECTS[1:])
    words = re.compile(rf'projects/({names})|\b({names})(80|_root)', re.I)
    for path in (ROOT / PACKAGE).rglob('*'):
        if path.suffix in ('.py', '.md', '.json') and '.mim' not in path.parts:
            assert not words.search(path.read_text()), path
            assert path.stem not in PROJECTS, path


@pytest.mark.parametrize(
    'module, code, complaint',
    [
        (
            'models/losses/a.py',
            'from harmoclip_mm.models.heads import b',
            'models.losses.a imports harmoclip_mm.models.heads.b, which is '
            'higher',
        ),
        (
            'models/losses/a.py',
            'from ..heads.b import B',
            'models.losses.a imports harmoclip_mm.models.heads.b, which is '
            'higher',
        ),
        ('models/layers/a.py', 'from .. import heads', 'models.heads, which'),
        # The whole of `models` holds the heads, so it is higher than they.
        ('models/losses/a.py', 'from .. import B', 'harmoclip_mm.models, wh'),
        ('text/a.py', 'import harmoclip_mm.apis', 'apis, which is higher'),
        ('registry.py', 'from . import text', 'text, which is higher'),
        ('registry.py', 'import harmoclip_mm', 'harmoclip_mm, which is hi'),
        (
            'models/heads/b.py',
            'def f():\n    from ...apis import g',
            'b.py:2: models.heads.b imports harmoclip_mm.apis',
        ),
        (
            'models/clip/c.py',
            'from harmoclip_mm.datasets.d import D',
            'they never import each other',
        ),
        ('datasets/d.py', 'from ..models import M', 'they never import each'),
        ('text/a.py', 'from torch import nn', 'but has no torch.nn'),
        ('text/a.py', 'import torch.nn.functional as F', 'has no torch.nn'),
        ('text/a.py', 'import torch\nx = torch.nn', 'but has no torch.nn'),
        ('models/heads/b.py', 'from open_clip.loss import L', 'which only'),
        ('apis/e.py', 'import timm', 'which only models.towers and'),
        ('apis/e.py', 'from shapes.plan import P', 'a project that uses'),
        ('odd/a.py', 'import os', 'odd.a has no place in LAYERS'),
        # by name, whether the registry or the import system looks it up
        ('text/a.py', "x = dict(type='Head')", 'models.heads.h, which is hi'),
        ('datasets/d.py', "x = 'harmoclip_mm.Head'", 'they never import each'),
        ('text/a.py', "x = 'harmoclip_mm.apis'", 'apis, which is higher'),
    ],
)
def test_violations_are_caught(tmp_path, module, code, complaint):
    package = tmp_path / PACKAGE
    for name in ('text/a', 'models/losses/a', 'models/heads/b', 'apis/e'):
        path = package / f'{name}.py'
        path.parent.mkdir(parents=True)
        path.write_text('import os\n')
    for folder in ('', 'text', 'models', 'models/heads', 'apis'):
        (package / folder / '__init__.py').write_text('')
    (package / 'models/heads/h.py').write_text(
        '@MODELS.register_module()\nclass Head:\n    pass\n'
    )
    assert find_violations(package) == []
    (package / module).parent.mkdir(parents=True, exist_ok=True)
    (package / module).write_text(code)
    violations = find_violations(package)
    assert any(complaint in violation for violation in violations), violations


def test_allowed_imports(tmp_path):
    """Downwards, sideways, and a package gathering its own modules."""
    package = tmp_path / PACKAGE
    for name, code in {
        '__init__': 'from .models import heads\nfrom .apis import e',
        'registry': '',
        'models/__init__': 'from .heads import *\nfrom . import losses',
        'models/losses/__init__': 'from .a import A',
        'models/losses/a': 'from ...registry import R',
        'models/heads/__init__': 'from .b import B',
        'models/heads/b': 'from ..losses import A\nfrom torch import nn',
        'apis/e': 'from ..models import heads\nfrom harmoclip_mm import text',
        'text/__init__': 'from torch import Tensor',
    }.items():
        path = package / f'{name}.py'
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(code)
    assert find_violations(package) == []
