"""Transforms of images with regions and texts."""

from .candidates import LoadCandidateBoxes, TokenizeCandidates
from .flip import TextAwareRandomFlip
from .formatting import PackRegionTextInputs
from .loading import BadImageError, LoadCaptions, LoadImageFromFile
from .regions import SampleRegions
from .tokenize import TokenizeRegionText

__all__ = [
    'BadImageError',
    'LoadCandidateBoxes',
    'LoadCaptions',
    'LoadImageFromFile',
    'PackRegionTextInputs',
    'SampleRegions',
    'TextAwareRandomFlip',
    'TokenizeCandidates',
    'TokenizeRegionText',
]
