"""Boxes from wherever users have them."""

import os
import os.path as osp
from collections import Counter
from typing import Any, Dict, List, Mapping, NamedTuple, Optional, Sequence

import mmengine.fileio as fileio
import numpy as np
from mmdet.structures import DetDataSample

from harmoclip_mm.coco_file import check_members, check_records, read_json
from harmoclip_mm.datasets.odvg import parse_odvg_line
from harmoclip_mm.datasets.transforms.regions import grid_boxes
from harmoclip_mm.errors import DataError


class ImageBoxes(NamedTuple):
    """Boxes of one image.

    Attributes:
        bboxes (np.ndarray): xyxy in pixels of the stored image, (N, 4)
            float32.
        scores (np.ndarray, optional): What their detector gave them, (N,).
    """

    bboxes: np.ndarray
    scores: Optional[np.ndarray] = None


def as_boxes(boxes: Any, where: str) -> ImageBoxes:
    """Boxes of one image in any of the forms that people have.

    Args:
        boxes (Any): An array or list (N, 4), xyxy in pixels; mmdet's
            ``DetDataSample`` with ``pred_instances``; its dict of
            predictions with ``bboxes``, and ``scores`` where known; or
            ``ImageBoxes``.
        where (str): What they are of, for messages.

    Raises:
        DataError: If they are no boxes, or one is empty.
    """
    scores = None
    if isinstance(boxes, ImageBoxes):
        boxes, scores = boxes
    elif isinstance(boxes, DetDataSample):
        found = boxes.get('pred_instances')
        if found is None:
            raise DataError(f'{where}: the DetDataSample has no predictions')
        boxes, scores = found.bboxes, found.get('scores')
    elif isinstance(boxes, Mapping):
        if 'bboxes' not in boxes:
            raise DataError(f'{where}: the predictions have no "bboxes"')
        boxes, scores = boxes['bboxes'], boxes.get('scores')
    try:
        found = _numbers(boxes)
        if found.size and found.shape[-1] != 4:
            raise ValueError(f'not rows of {found.shape[-1]} numbers')
        found = found.reshape(-1, 4)
        scores = None if scores is None else _numbers(scores).reshape(-1)
    except (TypeError, ValueError) as error:
        raise DataError(
            f'{where}: boxes are x1, y1, x2, y2 in pixels, one row each '
            f'({error})'
        ) from error
    for row, (x1, y1, x2, y2) in enumerate(found):
        if not (x2 > x1 and y2 > y1 and np.isfinite(found[row]).all()):
            raise DataError(
                f'{where}: box {row} ({x1:g}, {y1:g}, {x2:g}, {y2:g}) is '
                'empty; boxes are x1, y1, x2, y2 in pixels'
            )
    if scores is not None and len(scores) != len(found):
        raise DataError(
            f'{where}: {len(scores)} scores for {len(found)} boxes'
        )
    return ImageBoxes(found, scores)


def _numbers(values: Any) -> np.ndarray:
    values = getattr(values, 'tensor', values)  # of mmdet's HorizontalBoxes
    if hasattr(values, 'detach'):
        values = values.detach().cpu()
    return np.asarray(values, dtype=np.float32)


def check_inside(boxes: ImageBoxes, shape: Sequence[int], where: str) -> None:
    """Refuse boxes that have no pixel of their image.

    Args:
        boxes (ImageBoxes): The boxes.
        shape (Sequence[int]): Height and width of the image in pixels.
        where (str): What they are of, for messages.

    Raises:
        DataError: If one lies outside.
    """
    height, width = shape[:2]
    x1, y1, x2, y2 = boxes.bboxes.T
    outside = (x1 >= width) | (y1 >= height) | (x2 <= 0) | (y2 <= 0)
    if outside.any():
        row = int(outside.argmax())
        box = ', '.join(f'{value:g}' for value in boxes.bboxes[row])
        raise DataError(
            f'{where}: box {row} ({box}) lies outside the image of {width} x '
            f'{height} px; boxes are x1, y1, x2, y2 in pixels of the image as '
            'it is stored'
        )


def grid_of(shape: Sequence[int], splits: int) -> ImageBoxes:
    """Cells of all square grids of up to so many cells a side.

    Args:
        shape (Sequence[int]): Height and width in pixels.
        splits (int): Cells a side of the finest grid.

    Returns:
        ImageBoxes: The image as a whole first, then 2 x 2 cells, ...: 14 for
        ``splits=3``.
    """
    grids = [grid_boxes(*shape[:2], n, n) for n in range(1, splits + 1)]
    return ImageBoxes(np.concatenate(grids))


def read_box_file(path: str) -> Dict[str, ImageBoxes]:
    """Reads the boxes of a COCO or an ODVG file.

    Args:
        path (str): A ``.jsonl`` in ODVG format, or a json in COCO format with
            ``images`` and ``annotations``; annotations with a ``score`` are
            a detector's.

    Returns:
        Dict[str, ImageBoxes]: Boxes by the images' names in the file, in its
        order; of an image on several lines all.

    Raises:
        DataError: If it is neither, naming the line or the image.
    """
    if not fileio.exists(path):
        raise DataError(f'file of boxes {path} does not exist')
    if path.endswith('.jsonl'):
        return _read_odvg(path)
    content = read_json(path, 'fetch it again')
    if not isinstance(content, dict) or 'images' not in content:
        raise DataError(
            f'{path}: no "images": boxes are read from a COCO file with '
            'images and annotations, from ODVG lines (.jsonl), or from the '
            'folder of predictions that an inferencer of mmdet writes'
        )
    images = check_records(content, 'images', path, id='id', file_name='name')
    kinds = dict(image_id='id', bbox='box', score='number?')
    found = check_records(content, 'annotations', path, **kinds)
    names = {each['id']: each['file_name'] for each in images}
    check_members(found, 'image_id', names, path)
    boxes: Dict[str, list] = {name: [] for name in names.values()}
    scores: Dict[str, list] = {name: [] for name in names.values()}
    for each in found:
        x, y, width, height = each['bbox']
        name = names[each['image_id']]
        boxes[name].append((x, y, x + width, y + height))
        if 'score' in each:
            scores[name].append(each['score'])
    return {
        name: as_boxes(
            ImageBoxes(each, scores[name] or None), f'{path}, image {name}'
        )
        for name, each in boxes.items()
    }


def _read_odvg(path: str) -> Dict[str, ImageBoxes]:
    boxes: Dict[str, list] = {}
    for number, line in enumerate(fileio.get(path).splitlines(), 1):
        if line.strip():
            sample = parse_odvg_line(line, f'{path}:{number}', Counter())
            own = boxes.setdefault(sample['filename'], [])
            own += [each['bbox'] for each in sample['instances']]
    return {
        name: as_boxes(each, f'{path}, image {name}')
        for name, each in boxes.items()
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
        List[ImageBoxes | int]: Boxes of each; the number, for a grid.

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
    if isinstance(source, (Mapping, DetDataSample, ImageBoxes)) or (
        len(images) == 1 and (not len(source) or np.ndim(source[0]) == 1)
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
