"""Every figure of the field for any CLIP, in one call."""

from .protocols import Protocol, choose_protocols
from .results_file import Results
from .suite import benchmark

__all__ = ['Protocol', 'Results', 'benchmark', 'choose_protocols']
