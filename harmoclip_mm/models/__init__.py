"""Towers, region extractors, heads, losses and their assembly."""

from .classifiers import *  # noqa: F403
from .clip import *  # noqa: F403
from .data_preprocessors import *  # noqa: F403
from .detection import *  # noqa: F403
from .heads import *  # noqa: F403
from .losses import *  # noqa: F403
from .necks import *  # noqa: F403
from .region_extractors import *  # noqa: F403
from .towers import *  # noqa: F403
