"""mmdet's preprocessor with one transfer for all data samples."""

from mmdet.models.data_preprocessors import DetDataPreprocessor
from mmengine.model.base_model.data_preprocessor import CastData

from harmoclip_mm.registry import MODELS
from harmoclip_mm.structures import PackedList


@MODELS.register_module()
class RegionTextDataPreprocessor(DetDataPreprocessor):
    """mmdet's ``DetDataPreprocessor`` that moves data samples at once.

    The samples of a batch hold hundreds of small tensors. If the batch comes
    from ``packed_collate``, they go to the device in one transfer; other
    batches are treated as mmdet does.

    Args:
        *args: Arguments of mmdet's ``DetDataPreprocessor``.
        **kwargs: Keyword arguments of it.
    """

    def cast_data(self, data: CastData) -> CastData:
        """Copy data to the target device.

        Args:
            data (CastData): A batch of the data loader, or a part of it.

        Returns:
            CastData: The same on the device. Data samples are copies, on
            the CPU too, so that a prediction leaves the batch as it was.
        """
        if isinstance(data, PackedList):
            return data.to(self.device, non_blocking=self._non_blocking)
        return super().cast_data(data)
