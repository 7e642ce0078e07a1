"""What annotation files beside the data set's own say about an image."""

import os.path as osp
import re
from collections import defaultdict
from functools import lru_cache
from typing import Any, Dict, List, Optional, Tuple

import mmcv
import mmengine.fileio as fileio
import numpy as np
from mmcv.transforms import BaseTransform
from mmdet.structures.bbox import HorizontalBoxes
from mmdet.structures.mask import BitmapMasks
from scipy.ndimage import find_objects

from harmoclip_mm.coco_file import check_members, check_records, read_json
from harmoclip_mm.errors import DataError
from harmoclip_mm.registry import TRANSFORMS

from ..caption_files import read_captions

_THINGS = 80  # classes of COCO panoptic, the first ones


@TRANSFORMS.register_module()
class LoadCaptions(BaseTransform):
    """Add the captions of an image, so that a data set of boxes can also be
    used for retrieval.

    Required keys: ``img_id``. Added keys: ``captions`` (list[str], empty for
    an image without captions).

    Args:
        ann_file (str): COCO captions json, or another file of
            :func:`read_captions`. It is read once a process, when the first
            sample needs it.
        max_captions (int, optional): Keep the first so many captions of an
            image; protocols of COCO retrieval keep 5. None keeps all.
        backend_args (dict, optional): File backend of ``ann_file``.

    Raises:
        DataError: If ``ann_file`` does not exist or is no such file, or an
            image is not in it: it is then of another split.
    """

    def __init__(
        self,
        ann_file: str,
        max_captions: Optional[int] = None,
        backend_args: Optional[dict] = None,
    ) -> None:
        self.ann_file = ann_file
        self.max_captions = max_captions
        self.backend_args = backend_args

    def transform(self, results: dict) -> dict:
        """Add the captions."""
        backend = tuple(sorted((self.backend_args or {}).items()))
        captions = captions_by_id(self.ann_file, backend)
        found = captions.get(results['img_id'])
        if found is None:
            raise DataError(
                f'image {results["img_id"]} ({results.get("img_path", "?")}) '
                f'is not in {self.ann_file}, which lists {len(captions)} '
                'images: give LoadCaptions the captions of the same split, '
                'or list the image there, without captions'
            )
        results['captions'] = list(found[: self.max_captions])
        return results


@lru_cache(maxsize=4)
def captions_by_id(
    path: str, backend: Tuple[tuple, ...] = ()
) -> Dict[Any, List[str]]:
    """:func:`read_captions`, once a process.

    Args:
        path (str): The file.
        backend (tuple): Items of ``backend_args``.

    Returns:
        dict[Any, list[str]]: Captions by image id.
    """
    images = read_captions(path, backend_args=dict(backend) or None)
    return {image['id']: image['captions'] for image in images}


@TRANSFORMS.register_module()
class LoadCandidateBoxes(BaseTransform):
    """Add the boxes of an image that an expression may mean, as proposals.

    The file is read once, when the pipeline is built. Two formats are told
    apart by their content: COCO annotations (``instances_train2014.json``;
    crowds and empty boxes are left out), and COCO results, a list of
    ``{"image_id", "bbox", "score"}``, as a proposal network writes them.
    Images are matched by file name, and by its folders where several have
    one name; results have no file names, so their ``image_id`` is the number
    at the end of the name, as in COCO.

    Place it after the resizing.

    Required keys: ``img_path``, and ``scale_factor`` of the resizing.
    Added keys: ``proposals`` float32 (N, 4), xyxy in px of the resized
    image, and ``proposals_scores`` float32 (N,), 1 for annotations.

    Args:
        ann_file (str): The json file.
        backend_args (dict, optional): File backend of ``ann_file``.

    Raises:
        DataError: If ``ann_file`` does not exist or has neither format, or
            has no box for an image.
    """

    def __init__(
        self, ann_file: str, backend_args: Optional[dict] = None
    ) -> None:
        self.ann_file = ann_file
        content = read_json(
            ann_file,
            'give LoadCandidateBoxes COCO annotations with the boxes of the '
            'images, or proposals in the format of COCO results',
            backend_args,
        )
        # by base name the images of that name, where the file has names
        self.images: Dict[str, List[dict]] = defaultdict(list)
        kinds = dict(image_id='id', bbox='box', score='number?')
        if isinstance(content, dict):
            kinds = dict(id='id?', image_id='id', bbox='box')
            images = check_records(
                content, 'images', ann_file, id='id', file_name='name'
            )
            for image in images:
                self.images[osp.basename(image['file_name'])].append(image)
        else:
            content = dict(annotations=content)
        found = check_records(content, 'annotations', ann_file, **kinds)
        if self.images:
            ids = {image['id'] for image in images}
            check_members(found, 'image_id', ids, ann_file)
        self.boxes = _read_boxes(found)

    def transform(self, results: dict) -> dict:
        """Add the boxes."""
        name = osp.basename(results['img_path'])
        number = re.search(r'(\d+)\.\w+$', name)
        image_id = number and int(number[1])
        if self.images:
            image_id = self._find(name, results['img_path'])
        rows = self.boxes.get(image_id)
        if rows is None:
            raise DataError(
                f'{self.ann_file} holds no box for {results["img_path"]} '
                f'(image_id {image_id}): use the file of the images that are '
                'tested'
            )
        width, height = results.get('scale_factor', (1.0, 1.0))
        factor = np.array([width, height, width, height], dtype=np.float32)
        results['proposals'] = rows[:, :4] * factor
        results['proposals_scores'] = rows[:, 4].copy()
        return results

    def _find(self, name: str, path: str) -> Any:
        """Id of an image, None if the file does not have it."""
        found = self.images.get(name, ())
        if len(found) > 1:
            end = f'/{path}'
            found = [x for x in found if end.endswith(f'/{x["file_name"]}')]
        if len(found) > 1:
            raise DataError(
                f'{self.ann_file} has several images that {path} may be, '
                f'{found[0]["id"]!r} and {found[1]["id"]!r}: let file_name '
                'tell their folders'
            )
        return found[0]['id'] if found else None


def _read_boxes(annotations: List[dict]) -> Dict[int, np.ndarray]:
    """By image id xyxy and score; crowds and empty boxes are left out."""
    boxes = defaultdict(list)
    for each in annotations:
        x, y, width, height = each['bbox']
        if width > 0 and height > 0 and not each.get('iscrowd'):
            box = x, y, x + width, y + height, each.get('score', 1)
            boxes[each['image_id']].append(box)
    return {key: np.array(rows, np.float32) for key, rows in boxes.items()}


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
class LoadPanopticRegions(BaseTransform):
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
        backend_args (dict, optional): File backend of the maps.

    Raises:
        DataError: If a map does not exist, cannot be decoded, has not the
            size of its image, or lacks a segment that the annotations name.
    """

    def __init__(
        self,
        with_mask: bool = False,
        backend_args: Optional[dict] = None,
    ) -> None:
        self.with_mask = with_mask
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
            thing = info['category'] < _THINGS
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
