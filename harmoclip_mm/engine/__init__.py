"""Hooks and optimizer constructors."""

from .hooks import DataHealthHook

__all__ = ['DataHealthHook']
