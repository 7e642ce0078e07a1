"""Data sets of region phrases and of image-text retrieval, samplers."""

from .annotation_check import check_annotations
from .collate import packed_collate
from .fgovd import FGOVDDataset
from .image_text_retrieval import ImageTextRetrievalDataset
from .imagenet import ZeroShotImageNet
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
    'ZeroShotImageNet',
    'check_annotations',
    'packed_collate',
]
