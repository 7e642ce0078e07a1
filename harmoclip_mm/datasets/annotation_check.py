"""Checks of annotation files, before anything is built.

What mmdet's data sets pass over in silence would falsify figures: of two
images with one id the second is lost and its boxes go to the first; labels
count the categories in the order of the file, whatever order the classes are
named in; pycocotools takes a match with annotation 0 for none, and boxes whose
``area`` is 0 are dropped.
"""

import logging
import os.path as osp
import pickle
from collections import Counter
from itertools import zip_longest
from typing import (
    Any,
    Dict,
    Iterator,
    List,
    Mapping,
    Optional,
    Sequence,
    Tuple,
)

import mmengine.fileio as fileio
from mmdet.datasets import (
    CocoDataset,
    CocoPanopticDataset,
    LVISV1Dataset,
)
from mmengine.logging import print_log

from harmoclip_mm.coco_file import check_members, check_records, read_json
from harmoclip_mm.errors import DataError
from harmoclip_mm.registry import DATASETS


def check_annotations(dataset: Mapping[str, Any], evaluator: Any = ()) -> None:
    """Check the files of a data set's config, and of those that it wraps.

    Data sets of mmdet's COCO family are checked: every field that is read,
    ids, areas, the classes against the categories of the file, and that a
    file of proposals has all images. A metric that counts over a file
    of its own, as COCO's AP, and not over these images, is named in a warning:
    it takes what is not tested for missed.

    Args:
        dataset (Mapping[str, Any]): Config of the data set, in the scope of
            the config.
        evaluator (Any): Configs of the metrics that it is judged by. Defaults
            to none.

    Raises:
        DataError: If the annotations do not fit; the message names the file
            and the remedy.
    """
    unmarked = {}  # a path, and an annotation without "iscrowd"
    for each, kind in _coco_datasets(dataset):
        path = _path(each, each['ann_file'])
        content = read_json(
            path,
            'check data_root and ann_file of the data set',
            each.get('backend_args'),
        )
        classes = kind._load_metainfo(each.get('metainfo')).get('classes', ())
        images = check_coco(content, path, kind)
        names = [category['name'] for category in content['categories']]
        _check_categories(names, classes, path)
        unmarked[osp.abspath(path)] = next(
            (a for a in content['annotations'] if 'iscrowd' not in a), None
        )
        if each.get('proposal_file'):
            _check_proposals(each, images, kind)
    tested = [each for each, _ in _coco_datasets(dataset)]
    whole = {
        osp.abspath(_path(each, each['ann_file']))
        for each in tested
        if not each.get('indices')
    }
    metrics = [evaluator] if isinstance(evaluator, Mapping) else evaluator
    for metric in metrics if tested else ():
        counted = metric.get('ann_file')
        _check_marked(unmarked.get(osp.abspath(counted or '')), metric)
        if counted and (len(tested) > 1 or osp.abspath(counted) not in whole):
            print_log(
                f'{metric["type"]} counts all images of {counted}, but the '
                'data set has others or only some of them (ann_file, indices, '
                'wrappers): what is not tested counts as missed',
                logger='current',
                level=logging.WARNING,
            )


def _coco_datasets(setting: Any) -> Iterator[Tuple[Mapping, type]]:
    """Configs of COCO's family at any depth of a config."""
    if isinstance(setting, (list, tuple)):
        for each in setting:
            yield from _coco_datasets(each)
    if not isinstance(setting, Mapping):
        return
    kind = setting.get('type')
    kind = DATASETS.get(kind) if isinstance(kind, str) else kind
    is_coco = isinstance(kind, type) and issubclass(kind, CocoDataset)
    if is_coco and setting.get('ann_file'):
        yield setting, kind
        return
    for key in ('dataset', 'datasets'):  # what wrappers call them
        yield from _coco_datasets(setting.get(key))


def _path(dataset: Mapping, path: str) -> str:
    """A path of a data set, which may be relative to its root."""
    if '://' not in path and not osp.isabs(path):
        return osp.join(dataset.get('data_root') or '', path)
    return path


def check_coco(
    content: Any, path: str, kind: type = CocoDataset
) -> List[Dict[str, Any]]:
    """Check images, annotations and categories of a COCO file.

    Args:
        content (Any): What the file holds.
        path (str): The file, for messages.
        kind (type): The data set that reads it. Defaults to ``CocoDataset``.

    Returns:
        List[Dict[str, Any]]: Its images.

    Raises:
        DataError: If something of it is no COCO, or would be counted wrongly.
    """
    kinds = {_name_of(kind): 'name', 'height': 'size', 'width': 'size'}
    images = check_records(content, 'images', path, id='id', **kinds)
    if not images:
        raise DataError(
            f'annotation file {path} holds no image: give the file of the '
            'split that is wanted'
        )
    is_panoptic = issubclass(kind, CocoPanopticDataset)
    kinds = dict(isthing='number') if is_panoptic else {}
    categories = check_records(
        content, 'categories', path, id='id', name='name', **kinds
    )
    known = {category['id'] for category in categories}
    by_id = {image['id']: image for image in images}
    if is_panoptic:
        annotations = check_records(
            content, 'annotations', path, image_id='id', segments_info='list'
        )
        check_members(annotations, 'image_id', by_id, path)
        kinds = dict(id='id', category_id='id', bbox='box', area='number')
        for each in annotations:
            where = f'{path}, image {each["image_id"]}'
            segments = check_records(each, 'segments_info', where, **kinds)
            check_members(segments, 'category_id', known, path)
        return images
    ids = dict(id='id', image_id='id', category_id='id')
    annotations = check_records(
        content,
        'annotations',
        path,
        bbox='box',
        area='number?',
        iscrowd='flag?',
        **ids,
    )
    check_members(annotations, 'image_id', by_id, path)
    check_members(annotations, 'category_id', known, path)
    for annotation in annotations:
        _check_box(annotation, by_id[annotation['image_id']], path)
    return images


def _check_box(annotation: dict, image: dict, path: str) -> None:
    where = (
        f'annotation file {path}: annotation {annotation["id"]} of image '
        f'{annotation["image_id"]}'
    )
    if annotation['id'] == 0:
        raise DataError(
            f'{where} has id 0, a match with which pycocotools does not '
            'count, so that AP is too low; number the annotations from 1'
        )
    sides = annotation['bbox'][2:]
    if min(sides) >= 1 and annotation.get('area', 0) <= 0:
        raise DataError(
            f'{where} has area {annotation.get("area")}, and mmdet drops such '
            'boxes; give it the area of its mask, or of its box, in px^2'
        )
    if sides[0] > 2 * image['width'] or sides[1] > 2 * image['height']:
        raise DataError(
            f'{where} has the box {annotation["bbox"]} [x, y, width, height], '
            f'but the image is {image["width"]} x {image["height"]} px'
        )


def _check_categories(
    names: Sequence[str], classes: Sequence[str], path: str
) -> None:
    """Labels count those categories of the file that are classes."""
    wanted = set(classes)
    counted = [name for name in names if name in wanted]
    if counted == list(classes):
        return
    for given, what in (
        (classes, f'metainfo.classes for {path} has two classes'),
        (counted, f'annotation file {path} has two categories'),
    ):
        for name, count in Counter(given).most_common(1):
            if count > 1:
                raise DataError(
                    f'{what} named "{name}": give each a name of its own'
                )
    pairs = [*zip_longest(counted, classes)]
    index = next(i for i, (name, other) in enumerate(pairs) if name != other)
    name, other = pairs[index]
    what = f'"{name}" where the data set has class {index}, "{other}"'
    missing = len(wanted - set(counted))
    if missing and other not in counted:
        what = (
            f'no category "{other}", class {index} of the data set '
            f'({missing} of {len(classes)} classes are missing)'
        )
    raise DataError(
        f'annotation file {path} has {what}; give the classes of the file, in '
        'its order and each once, as metainfo.classes of the data set'
    )


def _check_marked(
    annotation: Optional[Mapping], metric: Mapping[str, Any]
) -> None:
    """pycocotools looks for crowds, at the end of a test; LVIS has none."""
    if annotation and str(metric['type']).endswith('CocoMetric'):
        raise DataError(
            f'annotation file {metric["ann_file"]}: annotation '
            f'{annotation["id"]} of image {annotation["image_id"]} has no '
            f'"iscrowd", which {metric["type"]} needs: give it "iscrowd": 0'
        )


def _check_proposals(
    dataset: Mapping, images: Sequence[dict], kind: type
) -> None:
    """mmdet looks proposals up by the image's folder and file name."""
    path = _path(dataset, dataset['proposal_file'])
    try:
        proposals = fileio.load(path, backend_args=dataset.get('backend_args'))
        found = frozenset(proposals)
    except (OSError, EOFError, TypeError, pickle.UnpicklingError) as error:
        reason = getattr(error, 'strerror', None) or error
        raise DataError(
            f'proposals {path} cannot be read ({reason}): write them with '
            'mmdet.DumpProposals in the test_evaluator of a detector, and '
            'give that file as proposal_file of the data set'
        ) from error
    root = dataset.get('data_root') or ''
    prefix = osp.join(root, (dataset.get('data_prefix') or {}).get('img', ''))
    names = [osp.join(prefix, image[_name_of(kind)]) for image in images]
    keys = ['/'.join(name.split('/')[-2:]) for name in names]
    missing = [key for key in keys if key not in found]
    if missing or len(found) > len(images):
        raise DataError(
            f'proposals {path} are of {len(found)} images, and of the '
            f'{len(images)} of the annotations {len(missing)} are not there '
            f'{missing[:1]}: mmdet takes proposals of the very same images, '
            'from a folder of the same name'
        )


def _name_of(kind: type) -> str:
    """The key of an image's name: LVIS v1 goes by the address, which ends
    with COCO's folder and name."""
    return 'coco_url' if issubclass(kind, LVISV1Dataset) else 'file_name'
