"""Vision towers."""

from .harmoclip_eva02 import HarmoCLIPEVA02
from .harmoclip_vit import HarmoCLIPViT

__all__ = ['HarmoCLIPEVA02', 'HarmoCLIPViT']
