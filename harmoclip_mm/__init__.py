"""Region-level CLIP training and evaluation on MMEngine and MMDetection.

Importing the package checks the OpenMMLab stack and makes the registries of
scope ``harmoclip_mm`` known, so that a config of any MMEngine project finds
``type='harmoclip_mm.X'`` with
``custom_imports = dict(imports=['harmoclip_mm'])``.
"""

from .compat import check_environment
from .version import __version__

# Before the registries: they import mmengine, whose absence has to be told in
# words of ours.
check_environment()

from . import registry  # noqa: E402

__all__ = ['__version__', 'registry']
