"""Transforms of images with regions and texts."""

from .candidates import LoadCandidateBoxes, TokenizeCandidates
from .caption_mosaic import CaptionMosaic
from .clip_resize import CLIPResize
from .exchange_words import ExchangeWords
from .flip import TextAwareRandomFlip
from .formatting import PackRegionTextInputs
from .grid_regions import SampleGridRegions
from .loading import BadImageError, LoadCaptions, LoadCheckedImage
from .panoptic import LoadPanopticRegions
from .regions import FilterRegions, SampleRegions
from .tokenize import TokenizeRegionText

__all__ = [
    'BadImageError',
    'CLIPResize',
    'CaptionMosaic',
    'ExchangeWords',
    'FilterRegions',
    'LoadCandidateBoxes',
    'LoadCaptions',
    'LoadCheckedImage',
    'LoadPanopticRegions',
    'PackRegionTextInputs',
    'SampleGridRegions',
    'SampleRegions',
    'TextAwareRandomFlip',
    'TokenizeCandidates',
    'TokenizeRegionText',
]
