"""Transforms of images with regions and texts."""

from .annotations import (
    LoadCandidateBoxes,
    LoadCaptions,
    LoadPanopticRegions,
)
from .caption_mosaic import CaptionMosaic
from .clip_resize import CLIPResize
from .exchange_words import ExchangeWords
from .flip import TextAwareRandomFlip
from .formatting import PackRegionTextInputs
from .loading import BadImageError, LoadCheckedImage
from .regions import FilterRegions, SampleGridRegions, SampleRegions
from .tokenize import TokenizeCandidates, TokenizeRegionText

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
