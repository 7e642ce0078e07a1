"""Text towers."""

from .clip_text_transformer import CLIPTextTransformer, TextFeatures
from .embedding import embed_texts

__all__ = ['CLIPTextTransformer', 'TextFeatures', 'embed_texts']
