"""A page about box classification: what is wrong, where, and how surely."""

from .figures import BoxClsFigures
from .page import write_page

__all__ = ['BoxClsFigures', 'write_page']
