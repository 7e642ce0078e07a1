"""Data sets of region phrases and of image-text retrieval, samplers."""

from .collate import packed_collate
from .fgovd import FGOVDDataset
from .image_text_retrieval import ImageTextRetrievalDataset
from .region_phrase import RegionPhraseDataset
from .samplers import ResumableInfiniteSampler, ResumableSampler
from .seeding import SeededDataset

__all__ = [
    'FGOVDDataset',
    'ImageTextRetrievalDataset',
    'RegionPhraseDataset',
    'ResumableInfiniteSampler',
    'ResumableSampler',
    'SeededDataset',
    'packed_collate',
]
