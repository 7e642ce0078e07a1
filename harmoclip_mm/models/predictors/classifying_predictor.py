"""Classification of images or regions into the classes of the data set."""

from typing import List, Optional, Sequence, Tuple

import torch
from mmdet.structures import DetDataSample, SampleList
from torch import Tensor, nn

from harmoclip_mm.errors import DataError
from harmoclip_mm.registry import MODELS

from ..layers import LogitScale
from .base_predictor import BasePredictor, read_field

_NO_CLASSES = (
    'the data set has to put its class names into the samples, by '
    "return_classes=True in mmdet's, and the pipeline to pack them (meta "
    "key 'text')"
)


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
            scored = self.classifier(
                torch.cat([rows[i] for i in own]),
                classes,
                text_encoder,
                *logit_scale(),
            )
            parts = scored.split([len(rows[i]) for i in own])
            for i, part in zip(own, parts):
                logits[i] = part
        return logits


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
