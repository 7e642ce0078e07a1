"""What users call from Python."""

from importlib import import_module
from typing import Any

from .config import load_config

# Loaded when first asked for: they import torch and every tower.
_HOMES = dict(
    EXPORT_FORMATS='clip',
    ImageTextInferencer='text_inferencers',
    OpenVocabularyInferencer='open_vocabulary_inferencer',
    RegionClassificationInferencer='text_inferencers',
    RegionRetrievalInferencer='region_retrieval_inferencer',
    export_clip='clip',
    export_onnx='onnx_export',
    load_clip='clip',
)

__all__ = ['load_config', *_HOMES]


def __getattr__(name: str) -> Any:
    if name in _HOMES:
        return getattr(import_module(f'.{_HOMES[name]}', __name__), name)
    raise AttributeError(f'module {__name__!r} has no attribute {name!r}')
