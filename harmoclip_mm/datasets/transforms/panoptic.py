"""Regions of panoptic annotations, things and stuff alike."""

from typing import Dict, Optional

import mmcv
import mmengine.fileio as fileio
import numpy as np
from mmdet.structures.bbox import HorizontalBoxes
from mmdet.structures.mask import BitmapMasks
from scipy.ndimage import find_objects

from harmoclip_mm.errors import DataError
from harmoclip_mm.registry import TRANSFORMS

from .base import PrintedTransform


def segment_boxes(segments: np.ndarray) -> Dict[int, np.ndarray]:
    """Tight boxes of the segments of a map.

    Args:
        segments (np.ndarray): Id of the segment of each pixel, shape (H, W).

    Returns:
        dict[int, np.ndarray]: xyxy box by segment id, in pixels; the right
        and lower sides are those of the last pixels, so that a segment of
        one pixel has a box of 1 x 1 px.
    """
    ids, index = np.unique(segments, return_inverse=True)
    places = find_objects(index.reshape(segments.shape) + 1)
    boxes = [[x.start, y.start, x.stop, y.stop] for y, x in places]
    return dict(zip(ids.tolist(), np.array(boxes, dtype=np.float32)))


@TRANSFORMS.register_module()
class LoadPanopticRegions(PrintedTransform):
    """Load every segment of a panoptic annotation as a region.

    mmdet's ``LoadPanopticAnnotations`` gives boxes and masks of things only,
    and needs ``panopticapi``, which no package index carries. Here a thing
    has its annotated box and stuff the tight box of its segment. The order
    is that of the annotation file.

    A thing that is a crowd is marked as ignored (``gt_ignore_flags``); its
    box is that of its segment, since mmdet's data set drops the annotated
    one. ``FilterRegions(keep_crowd=True)`` keeps it.

    Required keys: ``seg_map_path``, ``segments_info`` and ``instances`` as of
    mmdet's ``CocoPanopticDataset``, ``ori_shape``. Added keys: ``gt_bboxes``
    (N, 4), ``gt_bboxes_labels`` (N,), ``gt_ignore_flags`` (N,) and, where
    asked for, ``gt_masks`` (N, H, W). With ``return_classes=True`` mmdet gives
    the names of things as ``text`` and those of stuff as ``stuff_text``; here
    ``text`` becomes all of them.

    Args:
        with_mask (bool): Whether to load masks. Defaults to False.
        num_things (int): Classes below this index are things. Defaults to
            80, as of COCO.
        backend_args (dict, optional): File backend of the maps.

    Raises:
        DataError: If a map does not exist, cannot be decoded, has not the
            size of its image, or lacks a segment that the annotations name.
    """

    def __init__(
        self,
        with_mask: bool = False,
        num_things: int = 80,
        backend_args: Optional[dict] = None,
    ) -> None:
        self.with_mask = with_mask
        self.num_things = num_things
        self.backend_args = backend_args

    def transform(self, results: dict) -> dict:
        """Load the regions."""
        path = results['seg_map_path']
        segments = self._load(path, tuple(results['ori_shape'][:2]))
        tight = segment_boxes(segments)
        annotated = iter(results['instances'])
        boxes, labels, ignored, masks = [], [], [], []
        for info in results['segments_info']:
            if info['id'] not in tight:
                raise DataError(
                    f'{path} has no segment {info["id"]}, which the '
                    'annotations name: the maps and the json file must be '
                    'of the same release'
                )
            # mmdet says False for stuff and for crowds of things.
            thing = info['category'] < self.num_things
            whole = thing and info['is_thing']
            box = next(annotated)['bbox'] if whole else tight[info['id']]
            boxes.append(box)
            labels.append(info['category'])
            ignored.append(thing and not whole)
            if self.with_mask:
                masks.append((segments == info['id']).astype(np.uint8))
        results['gt_bboxes'] = HorizontalBoxes(
            np.asarray(boxes, dtype=np.float32).reshape(-1, 4)
        )
        results['gt_bboxes_labels'] = np.array(labels, dtype=np.int64)
        results['gt_ignore_flags'] = np.array(ignored, dtype=bool)
        if 'stuff_text' in results:
            stuff = results.pop('stuff_text')
            results['text'] = (*results['text'], *stuff)
        if self.with_mask:
            results['gt_masks'] = BitmapMasks(masks, *segments.shape)
        return results

    def _load(self, path: str, shape: tuple) -> np.ndarray:
        """The map of segment ids, int32 (H, W)."""
        try:
            content = fileio.get(path, backend_args=self.backend_args)
        except OSError as error:
            raise DataError(
                f'{path}: the panoptic map cannot be read '
                f'({error.strerror or error}). Check data_root and '
                'data_prefix.seg; COCO packs the maps in a zip file within '
                'panoptic_annotations_trainval2017.zip'
            ) from error
        bgr = content and mmcv.imfrombytes(content, backend='cv2')
        if not isinstance(bgr, np.ndarray):
            raise DataError(
                f'{path}: the panoptic map cannot be decoded. Fetch the file '
                'again'
            )
        if bgr.shape[:2] != shape:
            raise DataError(
                f'{path}: the panoptic map is {bgr.shape[1]} x '
                f'{bgr.shape[0]} px, but its image {shape[1]} x {shape[0]} px'
            )
        # id = R + 256 G + 256^2 B, https://cocodataset.org/#format-data
        return bgr.astype(np.int32) @ np.array([65536, 256, 1], np.int32)
