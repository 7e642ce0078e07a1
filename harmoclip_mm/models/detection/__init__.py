"""Open-vocabulary detection on a frozen CLIP."""

from .open_vocabulary_detector import OpenVocabularyDetector
from .open_vocabulary_roi_head import OpenVocabularyRoIHead
from .text_embedding_bbox_head import TextEmbeddingBBoxHead

__all__ = [
    'OpenVocabularyDetector',
    'OpenVocabularyRoIHead',
    'TextEmbeddingBBoxHead',
]
