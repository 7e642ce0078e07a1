"""Transforms of images with regions and texts."""

from .candidates import LoadCandidateBoxes, TokenizeCandidates
from .flip import TextAwareRandomFlip
from .formatting import PackRegionTextInputs
from .grid_regions import SampleGridRegions
from .loading import BadImageError, LoadCaptions, LoadImageFromFile
from .panoptic import LoadPanopticRegions
from .regions import FilterRegions, SampleRegions
from .tokenize import TokenizeRegionText

__all__ = [
    'BadImageError',
    'FilterRegions',
    'LoadCandidateBoxes',
    'LoadCaptions',
    'LoadImageFromFile',
    'LoadPanopticRegions',
    'PackRegionTextInputs',
    'SampleGridRegions',
    'SampleRegions',
    'TextAwareRandomFlip',
    'TokenizeCandidates',
    'TokenizeRegionText',
]
