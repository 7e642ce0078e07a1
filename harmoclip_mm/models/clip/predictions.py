"""Writing predictions into data samples."""

from typing import Callable, Sequence

import torch
from mmdet.structures import DetDataSample, SampleList
from mmengine.structures import InstanceData
from torch import Tensor

from ..layers import LogitScale

# How logits become probabilities: ``LogitScale.probabilities``.
ToScores = Callable[[Tensor], Tensor]
# One more than the Top-5 of the field: it shows a tie of the fifth.
MAX_TOPK = 6


def original_boxes(bboxes: Tensor, sample: DetDataSample) -> Tensor:
    """Takes boxes from the network input back to the original image.

    Args:
        bboxes (Tensor): xyxy in pixels of the network input, shape (N, 4).
        sample (DetDataSample): Sample with metainfo ``scale_factor`` =
            (width, height) factors of the resizing, if it was resized.

    Returns:
        Tensor: xyxy in pixels of the original image, shape (N, 4).
    """
    factor = sample.get('scale_factor', (1.0, 1.0))
    return bboxes / bboxes.new_tensor([*factor, *factor])


def add_box_classes(
    data_samples: SampleList, logits: Sequence[Tensor], to_scores: ToScores
) -> None:
    """Adds ``pred_instances`` that answer ``gt_instances`` row by row.

    Args:
        data_samples (SampleList): Samples with ``gt_instances``, whose boxes
            are taken back to the original image as well.
        logits (Sequence[Tensor]): Class scores of each sample's boxes,
            shapes (N_i, classes).
        to_scores (Callable): Makes probabilities of them.
    """
    for sample, each in zip(data_samples, logits):
        # Ranked by logits: probabilities of classes far below tie at 0.
        labels = each.topk(min(MAX_TOPK, each.shape[-1]), dim=-1).indices
        scores = to_scores(each).gather(-1, labels)
        gt_instances = sample.gt_instances
        gt_instances.bboxes = original_boxes(gt_instances.bboxes, sample)
        # in pixels of the network input, and of no use any more
        gt_instances.pop('masks', None)
        sample.pred_instances = InstanceData(
            bboxes=gt_instances.bboxes.clone(),
            labels=labels[:, 0],
            scores=scores[:, 0],
            topk_labels=labels,
            topk_scores=scores,
        )


def add_image_classes(
    data_samples: SampleList, logits: Tensor, to_scores: ToScores
) -> None:
    """Adds ``pred_score`` (classes,) and ``pred_label`` (1,), as mmpretrain.

    Args:
        data_samples (SampleList): Samples of B images.
        logits (Tensor): Class scores of the images, shape (B, classes).
        to_scores (Callable): Makes probabilities of them.
    """
    for sample, row, score in zip(data_samples, logits, to_scores(logits)):
        sample.pred_score = score
        sample.pred_label = row.argmax(dim=-1, keepdim=True)


def add_candidate_scores(
    data_samples: SampleList,
    regions: Sequence[Tensor],
    texts: Sequence[Tensor],
    logit_scale: LogitScale,
) -> None:
    """Adds ``pred_instances`` that compare boxes with the sample's texts.

    Where a sample has ``proposals``, they are ranked by how well they fit
    its one text: ``bboxes`` (N, 4), ``scores`` (N,), the probability over
    the boxes (by itself where the CLIP has a bias), best first, and
    ``labels`` (N,) of zeros.

    Else the predictions answer ``gt_instances`` row by row:
    ``candidate_logits`` (N, T), float32, -inf where
    ``gt_instances.candidate_mask`` (N, T) says that a text is none of a
    box's candidates, ``labels`` (N,), the best text, and ``scores`` (N,),
    its probability among the candidates.

    Args:
        data_samples (SampleList): Samples of B images.
        regions (Sequence[Tensor]): L2-normalised embeddings of each image's
            boxes, shapes (N_i, D).
        texts (Sequence[Tensor]): Those of each sample's texts, (T_i, D).
        logit_scale (LogitScale): The CLIP's scale and bias.

    Raises:
        ValueError: If a sample has proposals and not exactly one text.
    """
    scale, bias = logit_scale()
    for sample, region, text in zip(data_samples, regions, texts):
        # A product in bfloat16 would tie texts that are apart.
        with torch.autocast(region.device.type, enabled=False):
            logits = scale.float() * region.float() @ text.float().t()
            if bias is not None:
                logits = logits + bias.float()
        truth = sample.get('gt_instances')
        if truth is not None:
            truth.bboxes = original_boxes(truth.bboxes, sample)
        if 'proposals' in sample:
            sample.pred_instances = _rank_boxes(sample, logits, logit_scale)
        else:
            sample.pred_instances = _choose_texts(truth, logits, logit_scale)


def _rank_boxes(
    sample: DetDataSample, logits: Tensor, logit_scale: LogitScale
) -> InstanceData:
    if logits.shape[1] != 1:
        raise ValueError(
            f'image {sample.get("img_id", "?")} has {logits.shape[1]} texts: '
            'proposals are ranked by one text a sample'
        )
    bboxes = original_boxes(sample.proposals.bboxes, sample)
    sample.proposals.bboxes = bboxes
    scores = logit_scale.probabilities(logits[:, 0], dim=0)
    # Stable, so that equal boxes keep the order of their file.
    order = logits[:, 0].argsort(descending=True, stable=True)
    return InstanceData(
        bboxes=bboxes[order],
        scores=scores[order],
        labels=torch.zeros_like(order),
    )


def _choose_texts(
    truth: InstanceData, logits: Tensor, logit_scale: LogitScale
) -> InstanceData:
    mask = truth.get('candidate_mask')
    if mask is not None:
        logits = logits.masked_fill(~mask, float('-inf'))
    scores, labels = logit_scale.probabilities(logits).max(dim=-1)
    return InstanceData(
        bboxes=truth.bboxes.clone(),
        labels=labels,
        scores=scores,
        candidate_logits=logits,
    )


def add_embeddings(
    data_samples: SampleList, images: Tensor, texts: Sequence[Tensor]
) -> None:
    """Adds ``image_embedding`` and ``text_embeddings`` for retrieval.

    Args:
        data_samples (SampleList): Samples of B images.
        images (Tensor): L2-normalised image embeddings, shape (B, D).
        texts (Sequence[Tensor]): Those of each image's captions, (C_i, D).
    """
    for sample, image, text in zip(data_samples, images, texts):
        # Views would take the whole batch with them into a results file.
        sample.image_embedding = image.clone()
        sample.text_embeddings = text.clone()
