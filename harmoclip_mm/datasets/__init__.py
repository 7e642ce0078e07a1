"""Data sets of region phrases and of image-text retrieval."""

from .fgovd import FGOVDDataset
from .collate import packed_collate
from .image_text_retrieval import ImageTextRetrievalDataset
from .lvis import LVISV1Dataset
from .region_phrase import RegionPhraseDataset

__all__ = [
    'FGOVDDataset',
    'ImageTextRetrievalDataset',
    'LVISV1Dataset',
    'RegionPhraseDataset',
    'ImageTextRetrievalDataset',
    'RegionPhraseDataset',
    'packed_collate',
]
