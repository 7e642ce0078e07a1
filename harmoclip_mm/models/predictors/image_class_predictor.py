"""Classes of whole images."""

from mmdet.structures import SampleList
from torch import nn

from harmoclip_mm.registry import MODELS

from ..layers import LogitScale
from .base_predictor import VisualFeatures
from .classifying_predictor import ClassifyingPredictor


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
