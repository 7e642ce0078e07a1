"""Classes of given boxes, of proposals and of whole images."""

from typing import Optional

import torch
from mmcv.ops import batched_nms
from mmdet.structures import SampleList
from mmengine.structures import InstanceData
from torch import nn

from harmoclip_mm.registry import MODELS

from ..layers import LogitScale
from .base_predictor import (
    ClassifyingPredictor,
    VisualFeatures,
    original_boxes,
)

# One more than the Top-5 of the field: it shows a tie of the fifth.
MAX_TOPK = 6
# Candidates of an image that reach the NMS, best first.
MAX_CANDIDATES = 1000


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


@MODELS.register_module()
class ImageClassPredictor(ClassifyingPredictor):
    """Classifies images, as mmpretrain's classifiers do.

    Adds ``pred_score`` (C,), the probabilities of the classes, and
    ``pred_label`` (1,), the best of them.

    Args:
        classifier (dict, optional): See :class:`ClassifyingPredictor`.
    """

    requires = frozenset({'image'})

    def predict(
        self,
        features: VisualFeatures,
        data_samples: SampleList,
        text_encoder: nn.Module,
        logit_scale: LogitScale,
    ) -> None:
        """Adds the classes, see :class:`BasePredictor`."""
        rows = features.image.split(1)
        logits = self.class_logits(
            rows, data_samples, text_encoder, logit_scale
        )
        for sample, (row,) in zip(data_samples, logits):
            sample.pred_score = logit_scale.probabilities(row)
            sample.pred_label = row.argmax(dim=-1, keepdim=True)


@MODELS.register_module()
class ProposalClassPredictor(ClassifyingPredictor):
    """Makes detections of ``proposals`` by naming them.

    Every class of a proposal is a candidate whose score is the class
    probability; the 1000 best of an image go through an NMS within each
    class. As all region classifiers without a background class, a proposal
    of nothing gets a class too; only its objectness can tell.

    Samples have ``proposals``: ``bboxes`` (N, 4) xyxy in pixels of the
    network input and ``scores`` (N,) in [0, 1], the objectness. Adds
    ``pred_instances``: ``bboxes``, ``scores`` and ``labels``, best first.

    Args:
        classifier (dict, optional): See :class:`ClassifyingPredictor`.
        objectness (bool): Multiply the probability with the objectness.
            Defaults to False.
        nms (dict, optional): NMS of mmcv. Defaults to ``dict(type='nms',
            iou_threshold=0.5)``.
        max_per_img (int): Most detections of an image. Defaults to 100,
            which is what COCO's AP counts.
    """

    requires = frozenset({'proposal_regions'})

    def __init__(
        self,
        classifier: Optional[dict] = None,
        objectness: bool = False,
        nms: Optional[dict] = None,
        max_per_img: int = 100,
    ) -> None:
        super().__init__(classifier)
        self.objectness = objectness
        self.nms = nms or dict(type='nms', iou_threshold=0.5)
        self.max_per_img = max_per_img

    def predict(
        self,
        features: VisualFeatures,
        data_samples: SampleList,
        text_encoder: nn.Module,
        logit_scale: LogitScale,
    ) -> None:
        """Adds the detections, see :class:`BasePredictor`."""
        logits = self.class_logits(
            features.proposal_regions, data_samples, text_encoder, logit_scale
        )
        for sample, each in zip(data_samples, logits):
            proposals = sample.proposals
            boxes = original_boxes(proposals.bboxes, sample)
            scores = logit_scale.probabilities(each)
            if self.objectness:
                scores = scores * proposals.scores[:, None]
            classes = scores.shape[-1]
            scores, order = scores.flatten().topk(
                min(MAX_CANDIDATES, scores.numel())
            )
            kept = scores > 0
            order, scores = order[kept], scores[kept]
            labels = order % classes
            boxes = boxes[torch.div(order, classes, rounding_mode='floor')]
            if len(boxes):  # mmcv's fails without
                _, kept = batched_nms(boxes, scores, labels, self.nms)
                kept = kept[: self.max_per_img]
                boxes, scores, labels = boxes[kept], scores[kept], labels[kept]
            sample.pred_instances = InstanceData(
                bboxes=boxes, scores=scores, labels=labels
            )
