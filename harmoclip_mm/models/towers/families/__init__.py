"""Kinds of vision towers that open_clip has, and how we read them."""

from torch import nn

from harmoclip_mm.errors import UsageError

from .base import Embedded, Family, TransformerFamily, resize_pos_embed
from .convolutional import ConvolutionalFamily, OpenCLIPResNet, TimmConvNet
from .open_clip_vit import OpenCLIPViT
from .timm_eva import TimmEva
from .timm_vit import TimmViT

FAMILIES = (OpenCLIPViT, TimmViT, TimmEva, TimmConvNet, OpenCLIPResNet)

__all__ = [
    'FAMILIES',
    'ConvolutionalFamily',
    'Embedded',
    'OpenCLIPViT',
    'TransformerFamily',
    'family_of',
    'resize_pos_embed',
]


def family_of(visual: nn.Module, name: str) -> Family:
    """Finds how to read a tower.

    Raises:
        UsageError: If no family reads it.
    """
    for family in FAMILIES:
        if family.reads(visual):
            return family(visual)
    inner = getattr(visual, 'trunk', visual)
    raise UsageError(
        f'clip {name!r} has a vision tower ({type(inner).__name__}) of a kind '
        'that harmoclip_mm cannot open for a dense map: it takes a class in '
        'harmoclip_mm/models/towers/families/ that says how it embeds, '
        'attends, pools and projects (see docs/clips.md)'
    )
