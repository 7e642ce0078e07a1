"""What predictors share."""

from typing import Any, FrozenSet, NamedTuple, Optional, Sequence

from mmdet.structures import DetDataSample, SampleList
from torch import Tensor, nn

from harmoclip_mm.errors import DataError

from ..layers import LogitScale


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


def read_field(sample: DetDataSample, key: str, remedy: str) -> Any:
    """A field of a sample that a predictor cannot do without.

    Args:
        sample (DetDataSample): The sample.
        key (str): The field.
        remedy (str): What to do where it is missing.

    Raises:
        DataError: If it is missing.
    """
    if key not in sample:
        raise DataError(
            f'image {sample.get("img_id", sample.get("img_path", "?"))} has '
            f'no {key}: {remedy}'
        )
    return sample.get(key)
