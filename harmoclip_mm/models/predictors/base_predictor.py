"""What predictors share."""

from typing import FrozenSet, List, NamedTuple, Optional, Sequence, Tuple

import torch
from mmdet.structures import DetDataSample, SampleList
from torch import Tensor, nn

from harmoclip_mm.errors import DataError
from harmoclip_mm.registry import MODELS

from ..layers import LogitScale, cosine_logits
from ..utils import read_field

_NO_CLASSES = (
    'the data set has to put its class names into the samples, by '
    "return_classes=True in mmdet's, and the pipeline to pack them (meta "
    "key 'text')"
)


class VisualFeatures(NamedTuple):
    """What predictors may require; embeddings are L2-normalised.

    Attributes:
        image (Tensor, optional): Embeddings of the images, shape (B, D).
        gt_regions (Sequence[Tensor], optional): Those of the boxes (or
            masks) of each image's ``gt_instances``, shapes (N_i, D).
        proposal_regions (Sequence[Tensor], optional): Those of its
            ``proposals``, shapes (N_i, D).
    """

    image: Optional[Tensor] = None
    gt_regions: Optional[Sequence[Tensor]] = None
    proposal_regions: Optional[Sequence[Tensor]] = None


class BasePredictor(nn.Module):
    """Base class of predictors.

    A predictor reads features and samples and adds predictions to the
    samples. It never changes their ground truth: predicted boxes are its
    own, in pixels of the original image.

    Attributes:
        requires (FrozenSet[str]): Fields of :class:`VisualFeatures` that it
            needs; towers run for nothing else.
    """

    requires: FrozenSet[str] = frozenset()

    def predict(
        self,
        features: VisualFeatures,
        data_samples: SampleList,
        text_encoder: nn.Module,
        logit_scale: LogitScale,
    ) -> None:
        """Adds predictions to samples.

        Args:
            features (VisualFeatures): What ``requires`` names.
            data_samples (SampleList): Samples of B images.
            text_encoder (nn.Module): The CLIP's text tower.
            logit_scale (LogitScale): Its scale and bias.
        """
        raise NotImplementedError


class ClassifyingPredictor(BasePredictor):
    """Base class of predictors that score the classes of the data set.

    Args:
        classifier (dict, optional): Config of the classifier. Defaults to a
            ``ZeroShotClassifier`` with its defaults.
    """

    def __init__(self, classifier: Optional[dict] = None) -> None:
        super().__init__()
        self.classifier = MODELS.build(
            {'type': 'harmoclip_mm.ZeroShotClassifier', **(classifier or {})}
        )

    def class_logits(
        self,
        rows: Sequence[Tensor],
        data_samples: SampleList,
        text_encoder: nn.Module,
        logit_scale: LogitScale,
    ) -> List[Tensor]:
        """Scores rows against the classes that their samples name.

        Args:
            rows (Sequence[Tensor]): Embeddings of each sample, (N_i, D).
            data_samples (SampleList): Samples whose metainfo ``text`` are
                the class names by label.
            text_encoder (nn.Module): The CLIP's text tower.
            logit_scale (LogitScale): Its scale and bias.

        Returns:
            List[Tensor]: Logits, shapes (N_i, C_i), float32.

        Raises:
            DataError: If a sample names no classes.
        """
        names = [class_names(each) for each in data_samples]
        logits: List[Tensor] = [None] * len(names)
        for classes in dict.fromkeys(names):  # one list, as a rule
            own = [i for i, each in enumerate(names) if each == classes]
            scored = cosine_logits(
                torch.cat([rows[i] for i in own]),
                self.classifier.class_embeddings(classes, text_encoder),
                *logit_scale(),
            )
            parts = scored.split([len(rows[i]) for i in own])
            for i, part in zip(own, parts):
                logits[i] = part
        return logits


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


def class_names(sample: DetDataSample) -> Tuple[str, ...]:
    """Class names that a sample brings.

    Raises:
        DataError: If it has none.
    """
    names = read_field(sample, 'text', _NO_CLASSES)
    if isinstance(names, str):
        raise DataError(
            f'image {sample.get("img_id", "?")} has a caption as text, no '
            f'class names: {_NO_CLASSES}'
        )
    return tuple(names)
