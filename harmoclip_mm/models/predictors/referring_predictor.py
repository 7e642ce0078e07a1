"""Boxes ranked by an expression that refers to one of them."""

import torch
from mmdet.structures import SampleList
from mmengine.structures import InstanceData
from torch import nn

from harmoclip_mm.errors import DataError
from harmoclip_mm.registry import MODELS

from ..layers import LogitScale, cosine_logits
from .base_predictor import (
    BasePredictor,
    VisualFeatures,
    original_boxes,
    read_field,
)


@MODELS.register_module()
class ReferringPredictor(BasePredictor):
    """Ranks ``proposals`` by how well they fit the sample's one text.

    Samples have ``candidate_ids`` (1, L), as of ``TokenizeCandidates``. Adds
    ``pred_instances``: ``bboxes`` (N, 4), ``scores`` (N,), the probability
    over the boxes (by itself where the CLIP has a bias), best first, and
    ``labels`` (N,) of zeros.
    """

    requires = frozenset({'proposal_regions'})

    def predict(
        self,
        features: VisualFeatures,
        data_samples: SampleList,
        text_encoder: nn.Module,
        logit_scale: LogitScale,
    ) -> None:
        """Adds the ranking, see :class:`BasePredictor`.

        Raises:
            DataError: If a sample has not exactly one text.
        """
        remedy = 'the test pipeline needs TokenizeCandidates'
        ids = [read_field(s, 'candidate_ids', remedy) for s in data_samples]
        texts = text_encoder.embed(ids)
        for sample, rows, text in zip(
            data_samples, features.proposal_regions, texts
        ):
            if len(text) != 1:
                raise DataError(
                    f'image {sample.get("img_id", "?")} has {len(text)} '
                    'texts: proposals are ranked by one text a sample'
                )
            logits = cosine_logits(rows, text, *logit_scale())[:, 0]
            # Stable, so that equal boxes keep the order of their file.
            order = logits.argsort(descending=True, stable=True)
            boxes = original_boxes(sample.proposals.bboxes, sample)
            sample.pred_instances = InstanceData(
                bboxes=boxes[order],
                scores=logit_scale.probabilities(logits, dim=0)[order],
                labels=torch.zeros_like(order),
            )
