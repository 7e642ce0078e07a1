"""Towers, region extractors, heads, losses and their assembly."""

from harmoclip_mm.compat import check_operators, import_stack

# Before the towers: they import mmcv.ops, whose failure has to be told in
# words of ours.
check_operators()
import_stack()

from .classifiers import *  # noqa: E402, F403
from .clip import *  # noqa: E402, F403
from .data_preprocessors import *  # noqa: E402, F403
from .detection import *  # noqa: E402, F403
from .heads import *  # noqa: E402, F403
from .losses import *  # noqa: E402, F403
from .necks import *  # noqa: E402, F403
from .predictors import *  # noqa: E402, F403
from .region_extractors import *  # noqa: E402, F403
from .towers import *  # noqa: E402, F403
