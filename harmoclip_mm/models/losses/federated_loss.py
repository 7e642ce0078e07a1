"""Cross entropy over a few of many classes, for federated annotations."""

from typing import Dict, Optional, Sequence

import torch
import torch.nn.functional as F
from mmdet.models.losses.utils import weight_reduce_loss
from torch import Tensor, nn

from harmoclip_mm.coco_file import check_records, read_json
from harmoclip_mm.errors import DataError
from harmoclip_mm.registry import MODELS


def sample_classes(
    labels: Tensor, weights: Tensor, num_sampled: int
) -> Tensor:
    """Draws the classes that a batch is judged by.

    All classes that appear are taken; others are added, drawn without
    replacement with probabilities in proportion to their weights, until
    there are ``num_sampled`` (CenterNet2, arXiv 2103.07461, federated loss
    for LVIS). Classes of weight 0 are never added.

    Args:
        labels (Tensor): Labels, shape (N,), int64; those outside [0, C) are
            background or ignored.
        weights (Tensor): Weights of the classes, shape (C,), at least 0.
        num_sampled (int): Number of classes wanted.

    Returns:
        Tensor: Whether each class is taken, shape (C,), bool.
    """
    taken = torch.zeros(len(weights), dtype=torch.bool, device=labels.device)
    inside = (labels >= 0) & (labels < len(weights))
    taken[labels[inside]] = True
    chances = weights.masked_fill(taken.to(weights.device), 0)
    wanted = min(num_sampled - int(taken.sum()), int((chances > 0).sum()))
    if wanted > 0:
        added = chances.multinomial(wanted)
        taken[added.to(taken.device)] = True
    return taken


def federated_cross_entropy(
    cls_score: Tensor, labels: Tensor, taken: Tensor
) -> Tensor:
    """Cross entropy whose softmax holds the background and some classes.

    Args:
        cls_score (Tensor): Scores, shape (N, C + 1), background last.
        labels (Tensor): Labels, shape (N,), in [0, C], which are taken or
            the background C.
        taken (Tensor): Classes in the softmax, shape (C,), bool.

    Returns:
        Tensor: Losses, shape (N,). Scores of other classes get no gradient.
    """
    left_out = torch.cat([~taken, taken.new_zeros(1)])
    scores = cls_score.masked_fill(left_out, float('-inf'))
    return F.cross_entropy(scores, labels, reduction='none')


def read_frequencies(path: str) -> Dict[str, float]:
    """Reads in how many images each class was annotated.

    Args:
        path (str): JSON in LVIS's form, or its list of categories alone;
            categories have ``name`` and ``image_count``.

    Returns:
        Dict[str, float]: Images by class name, in the order of the ids.

    Raises:
        DataError: If there is no such file or it is of another form.
    """
    content = read_json(path, "give LVIS's annotations or its categories")
    if isinstance(content, list):
        content = dict(categories=content)
    kinds = dict(id='id', image_count='number', name='name')
    found = check_records(content, 'categories', path, **kinds)
    found = sorted(found, key=lambda each: each['id'])
    for each in found:
        if each['image_count'] < 0:
            raise DataError(
                f'{path}: category {each["name"]!r} has an image_count of '
                f'{each["image_count"]}, below 0'
            )
    return {each['name']: float(each['image_count']) for each in found}


@MODELS.register_module()
class FederatedCrossEntropyLoss(nn.Module):
    """Cross entropy of a box head over a sample of the classes.

    Of LVIS's 1203 classes an image is annotated for a few; a class that is
    left out of the softmax is not pushed down where it may well be. See
    :func:`sample_classes` and :func:`federated_cross_entropy`.

    Each rank draws for its own images, from torch's generator, so given the
    drawn classes the loss is exact and a seed repeats it; the loss of 8
    ranks of 2 images is not that of one rank of 16, since the draws and the
    appearing classes differ.

    Args:
        frequencies (str): File with the images of each class, see
            :func:`read_frequencies`, of which the box head takes the classes
            that it is trained on.
        num_sampled (int): Classes in the softmax of a batch, besides the
            background. Defaults to 50.
        power (float): A class is added in proportion to its frequency to
            this power. Defaults to 0.5.
        loss_weight (float): Weight of the loss. Defaults to 1.

    Raises:
        DataError: If the file cannot be read, or a number is negative.
    """

    def __init__(
        self,
        frequencies: str,
        num_sampled: int = 50,
        power: float = 0.5,
        loss_weight: float = 1.0,
    ) -> None:
        super().__init__()
        self.by_name = read_frequencies(frequencies)
        self.num_sampled = num_sampled
        self.power = power
        self.loss_weight = loss_weight
        self.bind_classes(tuple(self.by_name))

    def bind_classes(self, classes: Sequence[str]) -> None:
        """Takes the frequencies of these classes from the file.

        Args:
            classes (Sequence[str]): Names in the order of the labels.

        Raises:
            DataError: If the file lacks a class.
        """
        lacking = [name for name in classes if name not in self.by_name]
        if lacking:
            raise DataError(
                f'The frequencies have no class {lacking[0]!r} '
                f'({len(lacking)} of {len(classes)} are missing): give the '
                'annotation file of the training.'
            )
        images = torch.tensor([self.by_name[name] for name in classes])
        # No buffer: it is drawn from on the CPU, alike on every device.
        self.weights = images**self.power

    def forward(
        self,
        cls_score: Tensor,
        label: Tensor,
        weight: Optional[Tensor] = None,
        avg_factor: Optional[float] = None,
        reduction_override: Optional[str] = None,
    ) -> Tensor:
        """Computes the loss.

        Args:
            cls_score (Tensor): Scores, shape (N, C + 1), background last.
            label (Tensor): Labels, shape (N,), int64, C is the background.
            weight (Tensor, optional): Weights of the rows, shape (N,).
            avg_factor (float, optional): What the sum is divided by.
                Defaults to N.
            reduction_override (str, optional): ``'none'``, ``'mean'`` or
                ``'sum'``. Defaults to ``'mean'``.

        Returns:
            Tensor: Scalar, or (N,) without reduction.

        Raises:
            ValueError: If there are not as many classes as frequencies.
        """
        if cls_score.shape[1] != len(self.weights) + 1:
            raise ValueError(
                f'{cls_score.shape[1] - 1} classes are scored, but '
                f'{len(self.weights)} frequencies were given.'
            )
        taken = sample_classes(label, self.weights, self.num_sampled)
        loss = federated_cross_entropy(cls_score, label, taken)
        return self.loss_weight * weight_reduce_loss(
            loss, weight, reduction_override or 'mean', avg_factor
        )
