"""Data sets of region phrases and of image-text retrieval."""

from .image_text_retrieval import ImageTextRetrievalDataset
from .region_phrase import RegionPhraseDataset

__all__ = ['ImageTextRetrievalDataset', 'RegionPhraseDataset']
