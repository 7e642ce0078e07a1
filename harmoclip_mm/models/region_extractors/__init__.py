"""Region features from a dense map or from crops."""

from .crop_feature_extractor import CropFeatureExtractor
from .roi_feature_extractor import RoIFeatureExtractor

__all__ = ['CropFeatureExtractor', 'RoIFeatureExtractor']
