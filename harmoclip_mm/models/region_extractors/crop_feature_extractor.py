"""Region features by encoding each region's crop."""

from typing import Optional, Sequence, Tuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torchvision.ops import roi_align

from harmoclip_mm.registry import MODELS

from ..utils import RegionBatch

CHUNK = 256  # crops encoded at once


@MODELS.register_module()
class CropFeatureExtractor(nn.Module):
    """Crops each region from the network input and encodes the crop.

    The upper bound of a region's zero-shot accuracy, and the teacher of
    CLIPSelf (arXiv 2310.01403). Crops of all images of a batch are encoded
    together. Crops are squashed to the tower's ``img_size``, as FineCLIP does,
    or fit into it by ``keep_ratio``, as CLIPSelf does; both cut them from the
    original image, here they come from the (resized) network input.

    Args:
        context (float): Factor by which a box grows around its centre
            before it is cropped and clipped to the image, at least 1.
            CLIPSelf and FineCLIP train with 1.5; CLIPSelf evaluates things
            with 1.5 and stuff with 1. Defaults to 1.
        keep_ratio (bool): Keep the ratio of the sides: the longer one fills
            the crop, the rest on both sides of the shorter one is black.
            Defaults to False.

    Raises:
        ValueError: If ``context`` is below 1.
    """

    needs_dense = False
    needs_masks = False

    def __init__(
        self,
        context: float = 1.0,
        keep_ratio: bool = False,
    ) -> None:
        super().__init__()
        if context < 1:
            raise ValueError(f'context must be at least 1, not {context}.')
        self.context = context
        self.keep_ratio = keep_ratio

    def crop(
        self,
        img: Tensor,
        rois: Tensor,
        size: Tuple[int, int],
        pad_value: Optional[Sequence[float]] = None,
        limits: Optional[Tensor] = None,
    ) -> Tensor:
        """Crops and resizes regions.

        RoIAlign with adaptive sampling averages all pixels below an output
        pixel, so large boxes shrink without aliasing.

        Args:
            img (Tensor): Normalised images, shape (B, 3, H, W).
            rois (Tensor): Image index and xyxy box in pixels, shape (R, 5).
            size (Tuple[int, int]): Height and width of the crops in pixels.
            pad_value (Sequence[float], optional): Value of the padding in
                the normalised image, by channel; with ``keep_ratio``.
            limits (Tensor, optional): Width and height within which each box
                grows, shape (R, 2). Defaults to those of the images.

        Returns:
            Tensor: Crops, shape (R, 3, height, width).
        """
        centre = (rois[:, 1:3] + rois[:, 3:]) / 2
        half = (rois[:, 3:] - rois[:, 1:3]) / 2 * self.context
        if limits is None:
            limits = rois.new_tensor([img.shape[-1], img.shape[-2]])
        low = (centre - half).clamp(min=0)
        high = torch.minimum(centre + half, limits)
        inside = None
        if self.keep_ratio:
            # The window of the crop's ratio around the box; what it holds
            # beside the box is painted over.
            sides = (high - low).clamp(min=1e-6)
            crop_sides = sides.new_tensor([size[1], size[0]])
            window = crop_sides * (sides / crop_sides).amax(1, keepdim=True)
            inside = [
                self._inside(share, length)
                for share, length in zip((sides / window).t(), size[::-1])
            ]
            centre = (low + high) / 2
            low, high = centre - window / 2, centre + window / 2
        rois = torch.cat([rois[:, :1], low, high], dim=1)
        crops = roi_align(img, rois.to(img.dtype), size, aligned=True)
        if inside is None:
            return crops
        kept = inside[1][:, None, :, None] & inside[0][:, None, None, :]
        padding = crops.new_tensor(pad_value)
        return torch.where(kept, crops, padding[:, None, None])

    @staticmethod
    def _inside(share: Tensor, length: int) -> Tensor:
        """Pixels within the middle share (R,) of a side, (R, length)."""
        pixel = torch.arange(length, device=share.device) + 0.5
        distance = (pixel / length - 0.5).abs()
        return distance[None, :] <= share[:, None] / 2

    def forward(
        self,
        dense: Optional[Tensor],
        regions: RegionBatch,
        img: Tensor,
        backbone: nn.Module,
    ) -> Tensor:
        """Encodes the regions' crops, see ``RoIFeatureExtractor.forward``;
        ``dense`` is not used."""
        if len(regions.rois) == 0:
            return img.new_zeros((0, backbone.out_dims))
        size, spec = backbone.img_size, backbone.spec
        black = [-mean / std for mean, std in zip(spec.mean, spec.std)]
        rois, whole = regions.rois, (img.shape[-1], img.shape[-2])
        # what pads an image is none of it
        sizes = rois.new_tensor(regions.sizes or [whole] * len(img))
        limits = sizes.clamp(max=sizes.new_tensor(whole))[rois[:, 0].long()]
        features = torch.cat(
            [
                backbone.encode(
                    self.crop(img, part, size, black, own), with_dense=False
                ).pooled
                for part, own in zip(rois.split(CHUNK), limits.split(CHUNK))
            ]
        )
        if features.dtype != torch.float64:
            features = features.float()
        return F.normalize(features, dim=1)
