"""What users call from Python."""

from .clip import EXPORT_FORMATS, export_clip, load_clip
from .config import load_config
from .open_vocabulary_inferencer import OpenVocabularyInferencer

__all__ = [
    'EXPORT_FORMATS',
    'OpenVocabularyInferencer',
    'export_clip',
    'load_clip',
    'load_config',
]
