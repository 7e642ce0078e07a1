"""Text towers."""

from .clip_text_transformer import CLIPTextTransformer, TextFeatures

__all__ = ['CLIPTextTransformer', 'TextFeatures']
