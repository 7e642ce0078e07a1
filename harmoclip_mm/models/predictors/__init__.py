"""Predictors: what a test asks of the towers, one task a file."""

from .base_predictor import BasePredictor, VisualFeatures, original_boxes
from .box_class_predictor import BoxClassPredictor
from .candidate_text_predictor import CandidateTextPredictor
from .classifying_predictor import ClassifyingPredictor
from .image_class_predictor import ImageClassPredictor
from .proposal_class_predictor import ProposalClassPredictor
from .referring_predictor import ReferringPredictor
from .region_retrieval_predictor import RegionRetrievalPredictor
from .retrieval_predictor import RetrievalPredictor

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
