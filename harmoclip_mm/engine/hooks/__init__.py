"""Runner hooks."""

from .data_health_hook import DataHealthHook

__all__ = ['DataHealthHook']
