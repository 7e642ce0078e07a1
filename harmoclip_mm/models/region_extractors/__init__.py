"""Region features from a dense map or from crops."""

from .crop_feature_extractor import CropFeatureExtractor
from .mask_feature_extractor import MaskFeatureExtractor
from .roi_feature_extractor import RoIFeatureExtractor

__all__ = [
    'CropFeatureExtractor',
    'MaskFeatureExtractor',
    'RoIFeatureExtractor',
]
