"""Boxes from wherever users have them."""

import os
import os.path as osp
from typing import Any, Dict, List, Mapping, Sequence

import mmengine.fileio as fileio
import numpy as np
import torch
from mmdet.structures import DetDataSample
from mmengine.structures import InstanceData
from torch import Tensor

from harmoclip_mm.coco_file import check_members, check_records, read_json
from harmoclip_mm.datasets.transforms.regions import grid_boxes
from harmoclip_mm.errors import DataError
from harmoclip_mm.models.utils import has_pixels

_PREDICTIONS = (Mapping, DetDataSample, InstanceData)


def as_boxes(boxes: Any, where: str) -> InstanceData:
    """Boxes of one image in any of the forms that people have.

    Args:
        boxes (Any): An array or list (N, 4), xyxy in pixels of the image as
            it is stored; or predictions of mmdet, a ``DetDataSample``, its
            ``pred_instances`` or a dict, with ``bboxes``, and ``scores``
            where known.
        where (str): What they are of, for messages.

    Returns:
        InstanceData: ``bboxes`` (N, 4) and, where known, ``scores`` (N,),
        float32.

    Raises:
        DataError: If they are no boxes, or one is empty.
    """
    if isinstance(boxes, DetDataSample):
        boxes = boxes.get('pred_instances', InstanceData())
    if not isinstance(boxes, _PREDICTIONS):
        boxes = dict(bboxes=boxes)
    if 'bboxes' not in boxes:
        raise DataError(f'{where}: the predictions have no "bboxes"')
    try:
        rows = _numbers(boxes.get('bboxes'))
        if rows.numel() and rows.shape[-1] != 4:
            raise ValueError(f'not rows of {rows.shape[-1]} numbers')
        found = InstanceData(bboxes=rows.reshape(-1, 4))
        if boxes.get('scores') is not None:
            found.scores = _numbers(boxes.get('scores')).reshape(-1)
    except (AssertionError, IndexError, TypeError, ValueError) as error:
        raise DataError(
            f'{where}: boxes are x1, y1, x2, y2 in pixels, one row each, and '
            f'have a score each or none ({error})'
        ) from error
    rows = found.bboxes
    _check(rows, has_pixels(rows), where, 'is empty')
    return found


def _numbers(values: Any) -> Tensor:
    values = getattr(values, 'tensor', values)  # of mmdet's HorizontalBoxes
    if isinstance(values, Tensor):
        return values.detach().cpu().float()
    return torch.from_numpy(np.asarray(values, dtype=np.float32).copy())


def _check(rows: Tensor, right: Tensor, where: str, fault: str) -> None:
    if not right.all():
        number = int((~right).nonzero()[0])
        box = ', '.join(f'{value:g}' for value in rows[number].tolist())
        raise DataError(
            f'{where}: box {number} ({box}) {fault}; boxes are x1, y1, x2, y2 '
            'in pixels of the image as it is stored'
        )


def check_inside(
    boxes: InstanceData, shape: Sequence[int], where: str
) -> None:
    """Refuse boxes that have no pixel of their image.

    Args:
        boxes (InstanceData): The boxes.
        shape (Sequence[int]): Height and width of the image in pixels.
        where (str): What they are of, for messages.

    Raises:
        DataError: If one lies outside.
    """
    height, width = shape[:2]
    rows = boxes.bboxes
    fault = f'lies outside the image of {width} x {height} px'
    _check(rows, has_pixels(rows, (height, width)), where, fault)


def grid_of(shape: Sequence[int], splits: int) -> InstanceData:
    """Cells of all square grids of up to so many cells a side.

    Args:
        shape (Sequence[int]): Height and width in pixels.
        splits (int): Cells a side of the finest grid.

    Returns:
        InstanceData: The image as a whole first, then 2 x 2 cells, ...: 14 for
        ``splits=3``.
    """
    grids = [grid_boxes(*shape[:2], n, n) for n in range(1, splits + 1)]
    return InstanceData(bboxes=torch.from_numpy(np.concatenate(grids)))


def read_box_file(path: str) -> Dict[str, InstanceData]:
    """Reads the boxes of a COCO file.

    Args:
        path (str): A json with ``images`` and ``annotations``; annotations
            with a ``score`` are a detector's.

    Returns:
        Dict[str, InstanceData]: Boxes by the images' names in the file, in
        its order.

    Raises:
        DataError: If it is no such file, naming the place.
    """
    if not fileio.exists(path):
        raise DataError(f'file of boxes {path} does not exist')
    content = read_json(path, 'fetch it again')
    if not isinstance(content, dict) or 'images' not in content:
        raise DataError(
            f'{path}: no "images": boxes are read from a COCO file with '
            'images and annotations, or from the folder of predictions that '
            'an inferencer of mmdet writes'
        )
    images = check_records(content, 'images', path, id='id', file_name='name')
    kinds = dict(image_id='id', bbox='box', score='number?')
    found = check_records(content, 'annotations', path, **kinds)
    names = {each['id']: each['file_name'] for each in images}
    check_members(found, 'image_id', names, path)
    boxes = {name: dict(bboxes=[], scores=[]) for name in names.values()}
    for each in found:
        x, y, width, height = each['bbox']
        own = boxes[names[each['image_id']]]
        own['bboxes'].append((x, y, x + width, y + height))
        if 'score' in each:
            own['scores'].append(each['score'])
    return {
        name: as_boxes(
            dict(own, scores=own['scores'] or None), f'{path}, image {name}'
        )
        for name, own in boxes.items()
    }


def boxes_of(source: Any, images: Sequence[Any]) -> List[Any]:
    """Finds the boxes of images.

    Args:
        source (Any): A number of cells a side, see :func:`grid_of`; a file,
            see :func:`read_box_file`; the folder ``preds`` of an inferencer
            of mmdet, a json named as the image; what it returned; or, for
            each image, what :func:`as_boxes` reads.
        images (Sequence): The images, paths where ``source`` goes by names.

    Returns:
        List[InstanceData | int]: Boxes of each; the number, for a grid.

    Raises:
        DataError: If an image has no boxes there, or two have the same.
    """
    if isinstance(source, (int, np.integer)):
        if source < 1:
            raise DataError(f'a grid of {source} cells a side has no boxes')
        return [int(source)] * len(images)
    if isinstance(source, (str, os.PathLike)):
        source = os.fspath(source)
        names = [each for each in images if isinstance(each, str)]
        if len(names) < len(images):
            raise DataError(f'{source} goes by names, but an image has none')
        if osp.isdir(source):
            keys = [f'{osp.splitext(osp.basename(n))[0]}.json' for n in names]
            _check_apart(keys, names, source)
            found = []
            for key, name in zip(keys, names):
                file = osp.join(source, key)
                content = read_json(file, f'it should have boxes of {name}')
                found.append(as_boxes(content, file))
            return found
        found = read_box_file(source)
        keys = [_name_in(found, each, source) for each in names]
        _check_apart(keys, names, source)
        return [found[key] for key in keys]
    if isinstance(source, Mapping) and 'predictions' in source:
        source = source['predictions']
    if isinstance(source, _PREDICTIONS) or (
        len(images) == 1
        and not any(
            isinstance(each, _PREDICTIONS) or np.ndim(each) != 1
            for each in source
        )
    ):
        source = [source]
    if len(source) != len(images):
        raise DataError(
            f'boxes of {len(source)} images for {len(images)} images: give '
            'one array (N, 4) for each'
        )
    return [
        as_boxes(each, image if isinstance(image, str) else f'image {row}')
        for row, (each, image) in enumerate(zip(source, images))
    ]


def _name_in(found: Mapping[str, Any], path: str, source: str) -> str:
    """What a file of boxes calls an image: the longest end of its path."""
    parts = path.replace('\\', '/').split('/')
    for start in range(len(parts)):
        name = '/'.join(parts[start:])
        if name in found:
            return name
    raise DataError(f'{source} has no boxes of image {path}')


def _check_apart(keys: List[str], paths: List[str], source: str) -> None:
    """Refuse boxes that two images would share."""
    owners: Dict[str, str] = {}
    for key, path in zip(keys, paths):
        owner = owners.setdefault(key, path)
        if osp.abspath(owner) != osp.abspath(path):
            raise DataError(
                f'{source}: boxes of {key} would be those of {owner} and of '
                f'{path}: give the boxes themselves, an array for each image'
            )
