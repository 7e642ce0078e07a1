"""Detections made of classified proposals."""

from typing import Dict, Optional

import torch
from mmcv.ops import batched_nms
from mmdet.structures import SampleList
from mmengine.structures import InstanceData
from torch import nn

from harmoclip_mm.registry import MODELS

from ..layers import LogitScale
from .base_predictor import VisualFeatures, original_boxes
from .classifying_predictor import ClassifyingPredictor

# Candidates of an image that reach the NMS, best first.
MAX_CANDIDATES = 1000


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
        score_thr (float): Candidates of this score and below are dropped.
            Defaults to 0.
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
        score_thr: float = 0.0,
        nms: Optional[Dict] = None,
        max_per_img: int = 100,
    ) -> None:
        super().__init__(classifier)
        self.objectness = objectness
        self.score_thr = score_thr
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
            kept = scores > self.score_thr
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
