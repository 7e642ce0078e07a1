"""Hooks and training strategies."""

from .hooks import DataHealthHook
from .strategies import CLIPFSDPStrategy

__all__ = ['CLIPFSDPStrategy', 'DataHealthHook']
