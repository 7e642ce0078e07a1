"""Region-level CLIP training and evaluation on MMEngine and MMDetection.

Importing the package checks the OpenMMLab stack and makes the registries of
scope ``harmoclip_mm`` known, so that a config of any MMEngine project finds
``type='harmoclip_mm.X'`` with
``custom_imports = dict(imports=['harmoclip_mm'])``.
"""

from importlib import import_module
from typing import Any, List

from .compat import check_environment
from .version import __version__

# Before the registries: they import mmengine, whose absence has to be told in
# words of ours.
check_environment()

from . import registry  # noqa: E402

# Loaded when first asked for: they import torch and every tower.
_LAZY = dict(load_clip='apis', export_clip='apis', benchmark='benchmarking')

__all__ = ['__version__', 'registry', *_LAZY]


def __getattr__(name: str) -> Any:
    if name in _LAZY:
        return getattr(import_module(f'.{_LAZY[name]}', __name__), name)
    raise AttributeError(f'module {__name__!r} has no attribute {name!r}')


def __dir__() -> List[str]:
    return sorted({*globals(), *_LAZY})
