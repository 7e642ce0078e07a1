"""Vision towers."""

from .harmoclip_vit import HarmoCLIPViT

__all__ = ['HarmoCLIPViT']
