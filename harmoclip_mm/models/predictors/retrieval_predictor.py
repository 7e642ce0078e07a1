"""Embeddings of images and captions."""

from mmdet.structures import SampleList
from torch import nn

from harmoclip_mm.registry import MODELS

from ..layers import LogitScale
from .base_predictor import BasePredictor, VisualFeatures, read_field


@MODELS.register_module()
class RetrievalPredictor(BasePredictor):
    """Embeds images and their captions, for retrieval.

    Samples have ``caption_ids`` (C, L). Adds ``image_embedding`` (D,) and
    ``text_embeddings`` (C, D), L2-normalised.
    """

    requires = frozenset({'image'})

    def predict(
        self,
        features: VisualFeatures,
        data_samples: SampleList,
        text_encoder: nn.Module,
        logit_scale: LogitScale,
    ) -> None:
        """Adds the embeddings, see :class:`BasePredictor`."""
        remedy = (
            'load captions (LoadCaptions) and tokenize them '
            '(TokenizeRegionText) in the test pipeline, or leave the '
            'retrieval out by model.predictors.retrieval=None'
        )
        ids = [read_field(s, 'caption_ids', remedy) for s in data_samples]
        texts = text_encoder.embed(ids)
        for sample, image, own in zip(data_samples, features.image, texts):
            # Views would take the whole batch with them into a results file.
            sample.image_embedding = image.clone()
            sample.text_embeddings = own.clone()
