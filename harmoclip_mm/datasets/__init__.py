"""Data sets of region phrases and of image-text retrieval, samplers."""

from .fgovd import FGOVDDataset
from .collate import packed_collate
from .image_text_retrieval import ImageTextRetrievalDataset
from .lvis import LVISV1Dataset
from .region_phrase import RegionPhraseDataset
from .samplers import ResumableInfiniteSampler, ResumableSampler
from .seeded_dataset import SeededDataset

__all__ = [
    'FGOVDDataset',
    'ImageTextRetrievalDataset',
    'LVISV1Dataset',
    'RegionPhraseDataset',
    'ImageTextRetrievalDataset',
    'RegionPhraseDataset',
    'packed_collate',
    'ImageTextRetrievalDataset',
    'RegionPhraseDataset',
    'ResumableInfiniteSampler',
    'ResumableSampler',
    'SeededDataset',
]
