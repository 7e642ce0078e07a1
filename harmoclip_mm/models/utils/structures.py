"""What moves between towers, heads and losses."""

from typing import Any, List, NamedTuple, Optional, Sequence, Tuple

import torch
import torch.nn.functional as F
from mmdet.structures import DetDataSample, SampleList
from mmdet.structures.bbox import bbox2roi
from torch import Tensor

from harmoclip_mm.errors import DataError


def has_pixels(bboxes: Tensor, size: Optional[Sequence[int]] = None) -> Tensor:
    """Tells which boxes are boxes.

    Args:
        bboxes (Tensor): xyxy in pixels, shape (N, 4).
        size (Sequence[int], optional): Height and width of their image in
            pixels, of which they have to have a part. Defaults to none.

    Returns:
        Tensor: Bool, shape (N,): false for boxes that are empty, not finite
        or outside.
    """
    first, last = bboxes[:, :2], bboxes[:, 2:]
    good = (last > first).all(dim=1) & bboxes.isfinite().all(dim=1)
    if size is not None:
        good &= (first < bboxes.new_tensor([size[1], size[0]])).all(dim=1)
        good &= (last > 0).all(dim=1)
    return good


class RegionBatch(NamedTuple):
    """All regions of a batch of images, flat.

    Attributes:
        rois (Tensor): Image index and box, shape (R, 5); boxes are xyxy in
            pixels of the network input.
        counts (List[int]): Regions of each image; they sum to R.
        masks (List[Tensor], optional): The regions' masks by image, shapes
            (N_i, H_i, W_i), bool or uint8 of 0 and 1, in pixels of the
            network input. Padding on the right and at the bottom may be
            missing. None where nobody asked for masks.
        sizes (List[Tuple[float, float]], optional): Width and height of each
            image in pixels of the network input, without padding on the right
            and at the bottom. None where nobody knows.
    """

    rois: Tensor
    counts: List[int]
    masks: Optional[List[Tensor]] = None
    sizes: Optional[List[Tuple[float, float]]] = None

    @classmethod
    def from_boxes(
        cls,
        boxes: Sequence[Tensor],
        masks: Optional[Sequence[Tensor]] = None,
        size: Optional[Tuple[int, int]] = None,
    ) -> 'RegionBatch':
        """Flattens the boxes of images.

        Args:
            boxes (Sequence[Tensor]): xyxy in pixels, shapes (N_i, 4).
            masks (Sequence[Tensor], optional): Their masks, shapes
                (N_i, H_i, W_i). Defaults to none.
            size (Tuple[int, int], optional): Height and width of the images
                in pixels: a box that has no part of them is refused.
                Defaults to none, and boxes that are known to be good.

        Raises:
            ValueError: If boxes are not of four numbers, one has no part of
                its image, or an image has not as many masks as boxes.
        """
        for each in boxes:
            if len(each) and tuple(each.shape[1:]) != (4,):
                raise ValueError(
                    f'Boxes of an image are of shape (N, 4), x1, y1, x2, y2 '
                    f'in pixels, not {tuple(each.shape)}.'
                )
        counts = [len(each) for each in boxes]
        if masks is not None and [len(each) for each in masks] != counts:
            raise ValueError(
                f'The images have {counts} boxes, but '
                f'{[len(each) for each in masks]} masks.'
            )
        rois = bbox2roi([each.float().reshape(-1, 4) for each in boxes])
        if size is not None:
            good = has_pixels(rois[:, 1:], size)
            if not good.all():
                place = int((~good).nonzero()[0])
                image, *box = rois[place].tolist()
                row = place - sum(counts[: int(image)])
                raise ValueError(
                    f'Box {row} of image {int(image)}, {box}, has no part of '
                    f'the image of {size[1]} x {size[0]} pixels: boxes are '
                    'x1, y1, x2, y2 in pixels.'
                )
        return cls(rois, counts, None if masks is None else list(masks))

    def split(self, rows: Tensor) -> Sequence[Tensor]:
        """Splits per-region rows (R, ...) by image."""
        return rows.split(self.counts)


class CLIPFeatures(NamedTuple):
    """What heads may ask for; embeddings are L2-normalised.

    Attributes:
        scale (Tensor): CLIP's temperature as a scale, scalar.
        bias (Tensor, optional): What a CLIP with a bias adds to its scaled
            cosines, scalar.
        image (Tensor, optional): Embeddings of the images that have a
            caption, shape (B', D).
        text (Tensor, optional): Their captions' embeddings at EOT, (B', D).
        regions (Tensor, optional): Region embeddings, shape (R, D).
        lexemes (Tensor, optional): Each region's phrase in the text token
            space, shape (R, D).
        phrases (Tensor, optional): EOT embedding of each region's phrase
            read alone, shape (R, D).
        crops (Tensor, optional): Image embedding of each region's crop
            without gradient, shape (R, D).
        phrase_keys (Tensor, optional): Keys of the phrases, shape (R,).
        online_crops (Tensor, optional): As ``crops``, with gradient.
        teacher_crops (Tensor, optional): As ``crops``, by the vision tower
            as it was before training.
        weights (Tensor, optional): Confidence of each region's link to its
            phrase, shape (R,), float32; 1 where the data tell none.
        negatives (Tensor, optional): EOT embeddings of texts that are almost
            each region's phrase, shape (R, M, D).
        negative_masks (Tensor, optional): Which of them there are, bool
            (R, M).
        lexeme_keys (Tensor, optional): Keys of the lexemes, shape (R,):
            equal where they are the same words at the same place of the same
            caption.
    """

    scale: Tensor
    bias: Optional[Tensor] = None
    image: Optional[Tensor] = None
    text: Optional[Tensor] = None
    regions: Optional[Tensor] = None
    lexemes: Optional[Tensor] = None
    phrases: Optional[Tensor] = None
    crops: Optional[Tensor] = None
    phrase_keys: Optional[Tensor] = None
    online_crops: Optional[Tensor] = None
    teacher_crops: Optional[Tensor] = None
    weights: Optional[Tensor] = None
    negatives: Optional[Tensor] = None
    negative_masks: Optional[Tensor] = None
    lexeme_keys: Optional[Tensor] = None


def collate_regions(
    data_samples: SampleList,
    with_masks: bool = False,
    kind: str = 'gt_instances',
) -> RegionBatch:
    """Flattens the regions of samples.

    Args:
        data_samples (SampleList): Samples whose regions have ``bboxes``
            (N, 4).
        with_masks (bool): Whether ``masks`` (mmdet's ``BitmapMasks`` or
            ``PolygonMasks``, or a tensor) are wanted. Defaults to False.
        kind (str): Where the regions are: ``'gt_instances'`` or
            ``'proposals'``. Defaults to the former.

    Returns:
        RegionBatch: The regions, masks on the device of their boxes.

    Raises:
        ValueError: If a sample has no such regions, or masks are wanted and
            it has none.
    """
    for sample in data_samples:
        if kind not in sample:
            raise ValueError(
                f'image {sample.get("img_id", "?")} has no {kind}: the '
                'pipeline has to load and pack them'
            )
    regions = [each.get(kind) for each in data_samples]
    boxes = [each.bboxes for each in regions]
    masks = None
    if with_masks:
        masks = []
        for each, sample in zip(regions, data_samples):
            if len(each) and 'masks' not in each:
                raise ValueError(
                    f'regions of image {sample.get("img_id", "?")} have no '
                    'masks, which MaskFeatureExtractor needs: load them by '
                    'with_mask=True of LoadPanopticRegions or '
                    'mmdet.LoadAnnotations, or choose '
                    'model.region_extractor.type=RoIFeatureExtractor'
                )
            masks.append(_mask_tensor(each.get('masks'), each.bboxes.device))
    sizes = [_size(each) for each in data_samples]
    found = RegionBatch.from_boxes(boxes, masks)
    return found._replace(sizes=None if None in sizes else sizes)


def _size(sample: DetDataSample) -> Optional[Tuple[float, float]]:
    if not ('ori_shape' in sample and 'scale_factor' in sample):
        return None
    height, width = sample.ori_shape[:2]
    ratios = sample.scale_factor
    return width * ratios[0], height * ratios[1]


def _mask_tensor(masks, device: torch.device) -> Tensor:
    """Masks of any container as a tensor (N, H, W) on a device."""
    if masks is None:
        return torch.zeros((0, 1, 1), dtype=torch.uint8, device=device)
    if isinstance(masks, Tensor):
        return masks.to(device)
    return masks.to_tensor(dtype=torch.uint8, device=device)


def collate_weights(data_samples: SampleList) -> Tensor:
    """Gathers how much each region of samples counts.

    Args:
        data_samples (SampleList): Samples with ``gt_instances``, with
            ``scores`` (N,) where the data tell how sure a link is.

    Returns:
        Tensor: Weights, shape (R,), float32.
    """
    regions = [each.gt_instances for each in data_samples]
    return torch.cat(
        [
            each.scores.float()
            if 'scores' in each
            else each.bboxes.new_ones(len(each), dtype=torch.float32)
            for each in regions
        ]
    )


def lexeme_pool(
    tokens: Tensor,
    row: Tensor,
    text: Tensor,
    token: Tensor,
    num_rows: int,
) -> Tensor:
    """Averages chosen tokens of texts into lexemes.

    Args:
        tokens (Tensor): Tokens in the joint space, shape (N, L, D).
        row (Tensor): Lexeme that each chosen token belongs to, shape (S,).
        text (Tensor): Text of each chosen token, shape (S,), in [0, N).
        token (Tensor): Its position in that text, shape (S,), in [0, L).
        num_rows (int): Number of lexemes R.

    Returns:
        Tensor: L2-normalised means, shape (R, D), float32 or float64; zero
        where a lexeme has no token.
    """
    chosen = tokens[text, token]
    if chosen.dtype != torch.float64:
        chosen = chosen.float()
    # The direction of a mean is that of the sum: no count is needed.
    total = chosen.new_zeros((num_rows, tokens.shape[-1]))
    return F.normalize(total.index_add(0, row, chosen), dim=-1)


def read_field(sample: DetDataSample, key: str, remedy: str) -> Any:
    """A field of a sample that its reader cannot do without.

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
