"""From batches of the data loader to inputs of the model."""

from .region_text_data_preprocessor import RegionTextDataPreprocessor

__all__ = ['RegionTextDataPreprocessor']
