"""Writing predictions into data samples."""

from typing import Sequence

from mmdet.structures import DetDataSample, SampleList
from mmengine.structures import InstanceData
from torch import Tensor

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
    data_samples: SampleList, logits: Sequence[Tensor]
) -> None:
    """Adds ``pred_instances`` that answer ``gt_instances`` row by row.

    Args:
        data_samples (SampleList): Samples with ``gt_instances``, whose boxes
            are taken back to the original image as well.
        logits (Sequence[Tensor]): Class scores of each sample's boxes,
            shapes (N_i, classes).
    """
    for sample, each in zip(data_samples, logits):
        topk = each.softmax(dim=-1).topk(min(MAX_TOPK, each.shape[-1]), dim=-1)
        gt_instances = sample.gt_instances
        gt_instances.bboxes = original_boxes(gt_instances.bboxes, sample)
        sample.pred_instances = InstanceData(
            bboxes=gt_instances.bboxes.clone(),
            labels=topk.indices[:, 0],
            scores=topk.values[:, 0],
            topk_labels=topk.indices,
            topk_scores=topk.values,
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
        sample.image_embedding = image
        sample.text_embeddings = text
