"""A page about a data set: look at it before you train."""

from .figures import DatasetFigures, ModelInput
from .page import write_page

__all__ = ['DatasetFigures', 'ModelInput', 'write_page']
