"""Names of CLIP's weights in all formats."""

from .formats import (
    FORMATS,
    OWN,
    Converted,
    Format,
    find_format,
    to_ours,
    to_theirs,
)

__all__ = [
    'FORMATS',
    'OWN',
    'Converted',
    'Format',
    'find_format',
    'to_ours',
    'to_theirs',
]
