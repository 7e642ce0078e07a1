"""The right text of a box among its candidates."""

from mmdet.structures import SampleList
from mmengine.structures import InstanceData
from torch import nn

from harmoclip_mm.registry import MODELS

from ..layers import LogitScale, cosine_logits
from .base_predictor import (
    BasePredictor,
    VisualFeatures,
    original_boxes,
    read_field,
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
        remedy = 'the test pipeline needs TokenizeCandidates'
        ids = [read_field(s, 'candidate_ids', remedy) for s in data_samples]
        texts = text_encoder.embed(ids)
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
