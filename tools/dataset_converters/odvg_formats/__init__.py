"""Formats of region-text data that ``to_odvg.py`` reads, one module each.

A format has a docstring (its first line and its layout are the help),
``ARGUMENTS`` (its options, if it has any, and what ``add_argument`` is told of
each), ``list_parts(args)`` (its files, or one thing: a
conversion that was interrupted goes on behind the last whole part; raises
``DataError`` for a wrong layout) and ``read(part, args, tally)``, which yields
ODVG lines made by :class:`~odvg_formats.lines.Line`.
"""

from importlib import import_module
from types import ModuleType
from typing import Dict

NAMES = (
    'coco',
    'coco-captions',
    'fineclip',
    'finehard',
    'flickr30k-entities',
    'grit',
    'refcoco',
    'visual-genome',
    'yolo',
)


def load_formats() -> Dict[str, ModuleType]:
    """The modules by the names that the command line has."""
    return {
        name: import_module(f'{__name__}.{name.replace("-", "_")}')
        for name in NAMES
    }
