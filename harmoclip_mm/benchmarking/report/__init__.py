"""Tables of what was measured beside what was published."""

from .tables import make_tables, read_published
from .writing import show_results, write_report

__all__ = [
    'make_tables',
    'read_published',
    'show_results',
    'write_report',
]
