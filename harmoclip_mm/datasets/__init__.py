"""Data sets of region phrases and of image-text retrieval, samplers."""

from harmoclip_mm.compat import import_stack

import_stack()

from .annotation_check import check_annotations  # noqa: E402
from .collate import packed_collate  # noqa: E402
from .fgovd import FGOVDDataset  # noqa: E402
from .image_text_retrieval import ImageTextRetrievalDataset  # noqa: E402
from .imagenet import ZeroShotImageNet  # noqa: E402
from .region_phrase import RegionPhraseDataset  # noqa: E402
from .samplers import ResumableInfiniteSampler, ResumableSampler  # noqa: E402
from .seeding import SeededDataset  # noqa: E402

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
