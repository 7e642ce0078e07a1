"""The towers of any CLIP, as open_clip builds them.

The only room besides ``checkpoints`` that knows families of models.
"""

from .backbone import HarmoCLIPBackbone, VisionFeatures
from .clip_spec import CLIPName, CLIPSpec, clip_spec
from .text_encoder import CLIPTextEncoder, TextFeatures
from .tokenizer import get_tokenizer

__all__ = [
    'CLIPName',
    'CLIPSpec',
    'CLIPTextEncoder',
    'HarmoCLIPBackbone',
    'TextFeatures',
    'VisionFeatures',
    'clip_spec',
    'get_tokenizer',
]
