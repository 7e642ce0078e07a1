"""A page about a data set: look at it before you train."""

from .page import write_page

__all__ = ['write_page']
