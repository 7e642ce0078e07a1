"""Region-level CLIP training and evaluation on MMEngine and MMDetection."""

from .version import __version__

__all__ = ['__version__']
