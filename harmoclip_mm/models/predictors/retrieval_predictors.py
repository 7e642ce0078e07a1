"""Embeddings of images, captions, regions and phrases, for retrieval."""

import torch
from mmdet.structures import SampleList
from mmengine.structures import InstanceData
from torch import nn

from harmoclip_mm.registry import MODELS

from ..layers import LogitScale
from ..utils import read_field
from .base_predictor import (
    BasePredictor,
    ClassifyingPredictor,
    VisualFeatures,
    class_names,
    original_boxes,
)


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


@MODELS.register_module()
class RegionRetrievalPredictor(ClassifyingPredictor):
    """Embeds the boxes of ``gt_instances`` and what they are searched by.

    That are the phrases of samples with ``phrase_ids`` (P, L) and
    ``phrase_keys`` (P,), as of ``TokenizeRegionText``, else the C class names
    of the data set, whose keys are their labels. Adds ``pred_instances`` with
    ``bboxes`` (N, 4), ``embeddings`` (N, D) and ``phrase_keys`` (N,), the
    phrase of each box; and ``query_embeddings`` (P, D) or (C, D) with
    ``query_keys``. Embeddings are L2-normalised.

    Args:
        classifier (dict, optional): See :class:`ClassifyingPredictor`; makes
            phrases of class names.
    """

    requires = frozenset({'gt_regions'})

    def predict(
        self,
        features: VisualFeatures,
        data_samples: SampleList,
        text_encoder: nn.Module,
        logit_scale: LogitScale,
    ) -> None:
        """Adds the embeddings, see :class:`BasePredictor`."""
        spoken = [each for each in data_samples if 'phrase_ids' in each]
        phrases = iter(
            text_encoder.embed([each.phrase_ids for each in spoken])
            if spoken
            else ()
        )
        for sample, rows in zip(data_samples, features.gt_regions):
            truth = sample.gt_instances
            if 'phrase_ids' in sample:
                queries, keys = next(phrases), sample.phrase_keys
            else:
                queries = self.classifier.class_embeddings(
                    class_names(sample), text_encoder
                )
                keys = torch.arange(len(queries), device=queries.device)
            sample.query_embeddings, sample.query_keys = queries, keys
            sample.pred_instances = InstanceData(
                bboxes=original_boxes(truth.bboxes, sample),
                embeddings=rows.clone(),  # no view of the whole batch
                phrase_keys=keys[truth.labels],
            )
