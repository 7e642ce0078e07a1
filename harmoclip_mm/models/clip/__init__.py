"""Assembly of towers and heads."""

from .harmoclip import HarmoCLIP

__all__ = ['HarmoCLIP']
