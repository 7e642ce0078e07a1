"""Turning classified proposals into detections."""

from typing import Dict, Optional, Sequence

import torch
from mmcv.ops import batched_nms
from mmdet.structures import SampleList
from mmengine.structures import InstanceData
from torch import Tensor

from .predictions import ToScores, original_boxes

# Candidates of an image that reach the NMS, best first.
MAX_CANDIDATES = 1000


def add_detections(
    data_samples: SampleList,
    logits: Sequence[Tensor],
    to_scores: ToScores,
    objectness: bool = False,
    score_thr: float = 0.0,
    nms: Optional[Dict] = None,
    max_per_img: int = 100,
) -> None:
    """Adds ``pred_instances`` made of classified proposals.

    Every class of a proposal is a candidate whose score is the class
    probability; the 1000 best of an image go through an NMS within each
    class. As all region classifiers without a background class, a proposal
    of nothing gets a class too; only its objectness can tell.

    Args:
        data_samples (SampleList): Samples with ``proposals``: ``bboxes``
            (N, 4) xyxy in pixels of the network input and ``scores`` (N,)
            in [0, 1], the objectness. Boxes of ``gt_instances`` are taken
            back to the original image as well.
        logits (Sequence[Tensor]): Class scores of each sample's proposals,
            shapes (N_i, classes).
        to_scores (Callable): Makes probabilities of them.
        objectness (bool): Multiply the probability with the objectness.
            Defaults to False.
        score_thr (float): Candidates of this score and below are dropped.
            Defaults to 0.
        nms (dict, optional): NMS of mmcv. Defaults to ``dict(type='nms',
            iou_threshold=0.5)``.
        max_per_img (int): Most detections of an image. Defaults to 100,
            which is what COCO's AP counts.
    """
    nms = nms or dict(type='nms', iou_threshold=0.5)
    for sample, each in zip(data_samples, logits):
        proposals = sample.proposals
        boxes = original_boxes(proposals.bboxes, sample)
        scores = to_scores(each)
        if objectness:
            scores = scores * proposals.scores[:, None]
        classes = scores.shape[-1]
        scores, order = scores.flatten().topk(
            min(MAX_CANDIDATES, scores.numel())
        )
        order, scores = order[scores > score_thr], scores[scores > score_thr]
        labels = order % classes
        boxes = boxes[torch.div(order, classes, rounding_mode='floor')]
        if len(boxes):  # mmcv's fails without
            _, kept = batched_nms(boxes, scores, labels, nms)
            kept = kept[:max_per_img]
            boxes, scores, labels = boxes[kept], scores[kept], labels[kept]
        sample.pred_instances = InstanceData(
            bboxes=boxes, scores=scores, labels=labels
        )
        truth = sample.get('gt_instances')
        if truth is not None and 'bboxes' in truth:
            truth.bboxes = original_boxes(truth.bboxes, sample)
            truth.pop('masks', None)
