"""mmdet's preprocessor with a CLIP's normalisation."""

from typing import Any, Mapping, Optional, Sequence, Union

from mmdet.models.data_preprocessors import DetDataPreprocessor
from mmengine.model.base_model.data_preprocessor import CastData

from harmoclip_mm.packed_list import PackedList
from harmoclip_mm.registry import MODELS

from ..towers.clip_spec import clip_spec


@MODELS.register_module()
class RegionTextDataPreprocessor(DetDataPreprocessor):
    """mmdet's ``DetDataPreprocessor`` that knows how CLIPs see images.

    It also moves data samples at once. The samples of a batch hold hundreds
    of small tensors. If the batch comes from ``packed_collate``, they go to
    the device in one transfer; other batches are treated as mmdet does.

    Args:
        clip (str | Mapping, optional): A CLIP, see :func:`clip_spec`, whose
            mean and standard deviation are used. Defaults to none: those
            given.
        mean (Sequence[float], optional): Mean of the channels R, G, B, pixels
            in [0, 255], where no ``clip`` says it.
        std (Sequence[float], optional): Their standard deviation.
        bgr_to_rgb (bool): Whether images come as B, G, R, as transforms of
            mmcv load them. Defaults to True.
        **kwargs: Other arguments of mmdet's ``DetDataPreprocessor``, such as
            ``pad_size_divisor`` and ``pad_mask``.

    Raises:
        ValueError: If both ``clip`` and a mean or deviation are given.
    """

    def __init__(
        self,
        clip: Optional[Union[str, Mapping[str, Any]]] = None,
        mean: Optional[Sequence[float]] = None,
        std: Optional[Sequence[float]] = None,
        bgr_to_rgb: bool = True,
        **kwargs: Any,
    ) -> None:
        if clip is not None:
            # A detector's config inherits ImageNet's from mmdet's.
            if mean is not None or std is not None:
                raise ValueError(
                    f'mean={mean} and std={std} are given, but those of clip '
                    f'{clip!r} are wanted: set mean=None, std=None.'
                )
            spec = clip_spec(clip)
            mean = [255 * each for each in spec.mean]
            std = [255 * each for each in spec.std]
        super().__init__(mean=mean, std=std, bgr_to_rgb=bgr_to_rgb, **kwargs)

    def cast_data(self, data: CastData) -> CastData:
        """Copy data to the target device.

        Returns:
            CastData: The same on the device. Data samples are copies, on
            the CPU too, so that a prediction leaves the batch as it was.
        """
        if isinstance(data, PackedList):
            return data.to(self.device, non_blocking=self._non_blocking)
        return super().cast_data(data)
