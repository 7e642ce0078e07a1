"""Region features by encoding each region's crop."""

from typing import Optional, Tuple, Union

import torch
import torch.nn.functional as F
from mmengine.utils import to_2tuple
from torch import Tensor, nn
from torchvision.ops import roi_align

from harmoclip_mm.registry import MODELS


@MODELS.register_module()
class CropFeatureExtractor(nn.Module):
    """Crops each region from the network input and encodes the crop.

    The upper bound of a region's zero-shot accuracy, and the teacher of
    CLIPSelf (arXiv 2310.01403). Crops are squashed to ``crop_size``; crops of
    all images of a batch are encoded together.

    Args:
        crop_size (int | Tuple[int, int]): Height and width of the encoded
            crop in pixels. Defaults to 224.
        context (float): Factor by which a box grows around its centre
            before it is cropped and clipped to the image, at least 1.
            CLIPSelf and FineCLIP train with 1.5. Defaults to 1.
        chunk_size (int): Most crops encoded at once. Defaults to 256.

    Raises:
        ValueError: If ``context`` is below 1.
    """

    needs_dense = False

    def __init__(
        self,
        crop_size: Union[int, Tuple[int, int]] = 224,
        context: float = 1.0,
        chunk_size: int = 256,
    ) -> None:
        super().__init__()
        if context < 1:
            raise ValueError(f'context must be at least 1, not {context}.')
        self.crop_size = to_2tuple(crop_size)
        self.context = context
        self.chunk_size = chunk_size

    def crop(self, img: Tensor, rois: Tensor) -> Tensor:
        """Crops and resizes regions.

        RoIAlign with adaptive sampling averages all pixels below an output
        pixel, so large boxes shrink without aliasing.

        Args:
            img (Tensor): Normalised images, shape (B, 3, H, W).
            rois (Tensor): Image index and xyxy box in pixels, shape (R, 5).

        Returns:
            Tensor: Crops, shape (R, 3, *crop_size).
        """
        centre = (rois[:, 1:3] + rois[:, 3:]) / 2
        half = (rois[:, 3:] - rois[:, 1:3]) / 2 * self.context
        grown = torch.cat([rois[:, :1], centre - half, centre + half], dim=1)
        limit = grown.new_tensor([img.shape[-1], img.shape[-2]] * 2)
        boxes = torch.minimum(grown[:, 1:].clamp(min=0), limit)
        rois = torch.cat([rois[:, :1], boxes], dim=1)
        return roi_align(img, rois.to(img.dtype), self.crop_size, aligned=True)

    def forward(
        self,
        dense: Optional[Tensor],
        rois: Tensor,
        img: Tensor,
        backbone: nn.Module,
    ) -> Tensor:
        """Encodes the regions' crops.

        Args:
            dense (Tensor, optional): Not used.
            rois (Tensor): Image index and xyxy box in pixels, shape (R, 5).
            img (Tensor): Normalised images, shape (B, 3, H, W).
            backbone (nn.Module): Vision tower with ``encode``.

        Returns:
            Tensor: L2-normalised features, shape (R, D).
        """
        if len(rois) == 0:
            return img.new_zeros((0, backbone.out_dims))
        features = [
            backbone.encode(self.crop(img, part), with_dense=False).pooled
            for part in rois.split(self.chunk_size)
        ]
        return F.normalize(torch.cat(features).float(), dim=1)
