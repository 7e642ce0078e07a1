"""Predictors: what a test asks of the towers."""

from .base_predictor import (
    BasePredictor,
    ClassifyingPredictor,
    VisualFeatures,
    original_boxes,
)
from .class_predictors import (
    BoxClassPredictor,
    ImageClassPredictor,
    ProposalClassPredictor,
)
from .retrieval_predictors import RegionRetrievalPredictor, RetrievalPredictor
from .text_predictors import CandidateTextPredictor, ReferringPredictor

__all__ = [
    'BasePredictor',
    'BoxClassPredictor',
    'CandidateTextPredictor',
    'ClassifyingPredictor',
    'ImageClassPredictor',
    'ProposalClassPredictor',
    'ReferringPredictor',
    'RegionRetrievalPredictor',
    'RetrievalPredictor',
    'VisualFeatures',
    'original_boxes',
]
