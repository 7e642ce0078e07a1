"""Classes of given boxes."""

from mmdet.structures import SampleList
from mmengine.structures import InstanceData
from torch import nn

from harmoclip_mm.registry import MODELS

from ..layers import LogitScale
from .base_predictor import VisualFeatures, original_boxes
from .classifying_predictor import ClassifyingPredictor

# One more than the Top-5 of the field: it shows a tie of the fifth.
MAX_TOPK = 6


@MODELS.register_module()
class BoxClassPredictor(ClassifyingPredictor):
    """Classifies the boxes of ``gt_instances``, row by row.

    Adds ``pred_instances`` of as many rows: ``bboxes`` (N, 4), ``labels``
    and ``scores`` (N,) of the best class, ``topk_labels`` and
    ``topk_scores`` (N, K), best first, K = 6 or the number of classes, and
    ``topk_logits`` (N, K): logits that differ may have one probability.

    Args:
        classifier (dict, optional): See :class:`ClassifyingPredictor`.
    """

    requires = frozenset({'gt_regions'})

    def predict(
        self,
        features: VisualFeatures,
        data_samples: SampleList,
        text_encoder: nn.Module,
        logit_scale: LogitScale,
    ) -> None:
        """Adds the classes, see :class:`BasePredictor`."""
        logits = self.class_logits(
            features.gt_regions, data_samples, text_encoder, logit_scale
        )
        for sample, each in zip(data_samples, logits):
            # Ranked by logits: probabilities of classes far below tie at 0,
            # a sigmoid's of classes far above at 1.
            topk = min(MAX_TOPK, each.shape[-1])
            best, labels = each.topk(topk, dim=-1)
            scores = logit_scale.probabilities(each).gather(-1, labels)
            sample.pred_instances = InstanceData(
                bboxes=original_boxes(sample.gt_instances.bboxes, sample),
                labels=labels[:, 0],
                scores=scores[:, 0],
                topk_labels=labels,
                topk_scores=scores,
                topk_logits=best,
            )
