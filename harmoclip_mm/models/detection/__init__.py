"""Open-vocabulary detection on a frozen CLIP."""

from .open_vocabulary_detector import OpenVocabularyDetector
from .open_vocabulary_roi_head import OpenVocabularyRoIHead, join_scores
from .text_embedding_bbox_head import TextEmbeddingBBoxHead
from .vocabulary import OpenVocabulary, split_vocabulary
from .vocabulary_memory import VocabularyMemory, VocabularyRecord

__all__ = [
    'OpenVocabulary',
    'OpenVocabularyDetector',
    'OpenVocabularyRoIHead',
    'TextEmbeddingBBoxHead',
    'VocabularyMemory',
    'VocabularyRecord',
    'join_scores',
    'split_vocabulary',
]
