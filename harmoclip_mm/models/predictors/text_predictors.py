"""Regions against the texts of their sample."""

from typing import Sequence

import torch
from mmdet.structures import SampleList
from mmengine.structures import InstanceData
from torch import Tensor, nn

from harmoclip_mm.errors import DataError
from harmoclip_mm.registry import MODELS

from ..layers import LogitScale, cosine_logits
from ..utils import read_field
from .base_predictor import (
    BasePredictor,
    VisualFeatures,
    original_boxes,
)


@MODELS.register_module()
class CandidateTextPredictor(BasePredictor):
    """Compares the boxes of ``gt_instances`` with the texts of the sample.

    Samples have ``candidate_ids`` (T, L), as of ``TokenizeCandidates``, and
    ``gt_instances.candidate_mask`` (N, T) where a box has candidates of its
    own. Adds ``pred_instances`` that answer the boxes row by row: ``bboxes``
    (N, 4), ``candidate_logits`` (N, T), float32, -inf for texts that are
    none of a box's candidates, ``labels`` (N,), the best text, and
    ``scores`` (N,), its probability among the candidates.
    """

    requires = frozenset({'gt_regions'})

    def predict(
        self,
        features: VisualFeatures,
        data_samples: SampleList,
        text_encoder: nn.Module,
        logit_scale: LogitScale,
    ) -> None:
        """Adds the scores, see :class:`BasePredictor`."""
        texts = _candidates(data_samples, text_encoder)
        for sample, rows, own in zip(data_samples, features.gt_regions, texts):
            logits = cosine_logits(rows, own, *logit_scale())
            mask = sample.gt_instances.get('candidate_mask')
            if mask is not None:
                logits = logits.masked_fill(~mask, float('-inf'))
            scores, labels = logit_scale.probabilities(logits).max(dim=-1)
            sample.pred_instances = InstanceData(
                bboxes=original_boxes(sample.gt_instances.bboxes, sample),
                labels=labels,
                scores=scores,
                candidate_logits=logits,
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
        texts = _candidates(data_samples, text_encoder)
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


def _candidates(
    data_samples: SampleList, text_encoder: nn.Module
) -> Sequence[Tensor]:
    """Embeddings of the texts of each sample, (T_i, D)."""
    remedy = 'the test pipeline needs TokenizeCandidates'
    ids = [read_field(s, 'candidate_ids', remedy) for s in data_samples]
    return text_encoder.embed(ids)
