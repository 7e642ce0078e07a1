"""Mosaics of captioned images: regions with texts, without boxes."""

import copy
import math
from typing import Any, List, Mapping, Sequence, Union

import numpy as np
from mmcv.transforms import BaseTransform
from mmdet.structures.bbox import HorizontalBoxes

from harmoclip_mm.registry import TRANSFORMS

from .clip_resize import CLIPResize
from .regions import REGION_FIELDS


@TRANSFORMS.register_module()
class CaptionMosaic(BaseTransform):
    """Make one image of several, each of which is a region with its caption.

    CLIM (arXiv 2312.11376). A grid of one cell leaves the image whole: it
    keeps its caption as that of the image, for the global contrast, and the
    caption is the phrase of its one region too. Mosaics have no caption.

    For mmdet's ``MultiImageMixDataset``, which brings the other images: its
    inner data set needs no more than ``LoadCheckedImage``.

    Required keys: ``img``, ``text``; ``mix_results``, a list of samples.
    Modified and added keys: those and ``phrases``, ``gt_bboxes``,
    ``gt_bboxes_labels``, ``gt_ignore_flags``, ``img_shape``, ``ori_shape``.
    Images without a caption are cells without a region.

    Args:
        clip (str | Mapping): The CLIP, see :class:`CLIPResize`, whose size
            and interpolation the mosaic has.
        grids (Sequence[int]): Cells a side, of which one number is drawn for
            each mosaic. Defaults to (1, 2, 3, 4).
        **kwargs: Other arguments of :class:`CLIPResize`.

    Raises:
        ValueError: If a grid has no cell.
    """

    def __init__(
        self,
        clip: Union[str, Mapping[str, Any]],
        grids: Sequence[int] = (1, 2, 3, 4),
        **kwargs: Any,
    ) -> None:
        if not grids or min(grids) < 1:
            raise ValueError(f'grids={grids} needs numbers of at least 1')
        self.grids = tuple(grids)
        self.resize = CLIPResize(clip, **kwargs)

    def get_indexes(self, dataset: Sequence) -> List[int]:
        """Draw a grid, and the images of its other cells.

        Returns:
            List[int]: Indices into it, fewer by one than there are cells.
        """
        side = self.grids[np.random.randint(len(self.grids))]
        return np.random.randint(len(dataset), size=side**2 - 1).tolist()

    def transform(self, results: dict) -> dict:
        """Put the images together, in random order."""
        samples = [results, *results.get('mix_results', ())]
        side, (height, width) = math.isqrt(len(samples)), self.resize.size
        x = np.linspace(0, width, side + 1).round().astype(int)
        y = np.linspace(0, height, side + 1).round().astype(int)
        mosaic = np.empty((height, width, 3), dtype=np.uint8)
        captions, boxes = [], []
        for cell, number in enumerate(np.random.permutation(len(samples))):
            row, column = divmod(cell, side)
            (top, bottom), (left, right) = y[row:][:2], x[column:][:2]
            resize = copy.copy(self.resize)
            resize.size = int(bottom - top), int(right - left)
            image = resize({'img': samples[number]['img']})['img']
            mosaic[top:bottom, left:right] = image
            if samples[number]['text'].strip():
                captions.append(samples[number]['text'])
                boxes.append([left, top, right, bottom])
        for key in REGION_FIELDS:
            results.pop(key, None)
        results.update(
            img=mosaic,
            img_shape=(height, width),
            ori_shape=(height, width),
            text=results['text'] if side == 1 else '',
            phrases={
                label: {'phrase': caption, 'tokens_positive': []}
                for label, caption in enumerate(captions)
            },
            gt_bboxes=HorizontalBoxes(np.float32(boxes).reshape(-1, 4)),
            gt_bboxes_labels=np.arange(len(boxes)),
            gt_ignore_flags=np.zeros(len(boxes), dtype=bool),
        )
        return results
