"""Checks of a test's annotations, before a model is built.

What mmdet's data sets pass over in silence would falsify figures: of two
images with one id the second is lost and its boxes go to the first, a class
that the file lacks shifts the labels of all behind it.
"""

import hashlib
import json
import os.path as osp
import pickle
from typing import Any, Dict, List, Optional, Sequence, Tuple

import mmengine.fileio as fileio
from mmdet.datasets import CocoDataset, LVISV05Dataset, LVISV1Dataset
from mmengine.config import Config
from mmengine.registry import init_default_scope

from harmoclip_mm.errors import DataError
from harmoclip_mm.evaluation.metrics import check_same_classes
from harmoclip_mm.registry import DATASETS
from harmoclip_mm.text import load_vocabulary


def check_annotations(cfg: Config) -> Dict[str, Any]:
    """Check the annotation file that a test reads.

    Data sets of mmdet's COCO family are checked: ids of images, the classes
    against those of the file and of the model's classifier, and that the
    files of ``LoadCaptions`` and of proposals have all images.

    Args:
        cfg (Config): The config, with ``test_dataloader``.

    Returns:
        dict[str, Any]: ``ann_file``, its path, and ``ann_sha256``; empty if
        the data set is of another kind.

    Raises:
        DataError: If the annotations do not fit; the message names the file
            and the remedy.
    """
    dataset = (cfg.get('test_dataloader') or {}).get('dataset') or {}
    kind, path = _annotation_file(cfg)
    if kind is None:
        return {}
    content = _read(path, dataset.get('backend_args'))
    classes = kind._load_metainfo(dataset.get('metainfo')).get('classes', ())
    try:
        ids = _image_ids(content['images'], path)
        names = [category['name'] for category in content['categories']]
    except (KeyError, TypeError) as error:
        raise DataError(
            f'annotation file {path} is not in COCO format ({error!r})'
        ) from error
    _check_categories(names, classes, path, issubclass(kind, LVISV05Dataset))
    _check_classifier(cfg, classes)
    for step in dataset.get('pipeline', ()):
        if _is(step, 'LoadCaptions'):
            _check_captions(step, ids)
    if dataset.get('proposal_file'):
        _check_proposals(dataset, content['images'], kind)
    return {'ann_file': path, 'ann_sha256': content['sha256']}


def annotation_checksum(cfg: Config) -> Optional[str]:
    """SHA-256 of the annotation file that a test reads, without checks.

    Args:
        cfg (Config): The config, with ``test_dataloader``.

    Returns:
        str, optional: The checksum that :func:`check_annotations` gives;
        None if the data set is of another kind or its file is not here.
    """
    kind, path = _annotation_file(cfg)
    if kind is None or not osp.isfile(path):
        return None
    with open(path, 'rb') as file:
        return hashlib.sha256(file.read()).hexdigest()


def _annotation_file(cfg: Config) -> Tuple[Optional[type], str]:
    """Class of the test data set, None outside the COCO family, and path."""
    init_default_scope(cfg.get('default_scope', 'mmengine'))
    dataset = (cfg.get('test_dataloader') or {}).get('dataset') or {}
    kind = dataset.get('type', '')
    if isinstance(kind, str):
        kind = DATASETS.get(kind)
    if not (isinstance(kind, type) and issubclass(kind, CocoDataset)):
        return None, ''
    return kind, _path(dataset, dataset.get('ann_file', ''))


def _path(dataset: dict, path: str) -> str:
    """A path of a data set, which may be relative to its root."""
    if path and '://' not in path and not osp.isabs(path):
        return osp.join(dataset.get('data_root') or '', path)
    return path


def _read(path: str, backend_args: Any) -> dict:
    try:
        raw = fileio.get(path, backend_args=backend_args)
    except OSError as error:
        raise DataError(
            f'annotation file {path} cannot be read '
            f'({error.strerror or error}): check data_root and ann_file of '
            'test_dataloader.dataset'
        ) from error
    try:
        content = dict(json.loads(raw))
    except (ValueError, TypeError) as error:
        raise DataError(
            f'annotation file {path} is not a JSON object in COCO format '
            f'({error})'
        ) from error
    content['sha256'] = hashlib.sha256(raw).hexdigest()
    return content


def _image_ids(images: Sequence[dict], path: str) -> List[Any]:
    if not images:
        raise DataError(
            f'annotation file {path} holds no image: give the file of the '
            'split to test on'
        )
    names = {}
    for image in images:
        name = image.get('file_name', image.get('coco_url'))
        if image['id'] in names:
            raise DataError(
                f'annotation file {path}: {names[image["id"]]} and {name} '
                f'both have image id {image["id"]}; give each image an id of '
                'its own'
            )
        names[image['id']] = name
    return list(names)


def _check_categories(
    names: Sequence[str], classes: Sequence[str], path: str, is_lvis: bool
) -> None:
    """Labels count the categories of the file, in the order of the file."""
    remedy = (
        'give the classes of the file, in its order, as '
        'test_dataloader.dataset.metainfo.classes'
    )
    if is_lvis:  # takes all categories, whatever the classes are called
        if len(names) != len(classes):
            raise DataError(
                f'annotation file {path} has {len(names)} categories, the '
                f'data set {len(classes)} classes; {remedy}'
            )
        return
    missing = [name for name in classes if name not in names]
    if missing:
        raise DataError(
            f'annotation file {path} has no category "{missing[0]}", class '
            f'{classes.index(missing[0])} of the data set ({len(missing)} of '
            f'{len(classes)} classes are missing); {remedy}'
        )
    for index, (name, other) in enumerate(
        zip([name for name in names if name in classes], classes)
    ):
        if name != other:
            raise DataError(
                f'annotation file {path} has "{name}" where the data set has '
                f'class {index}, "{other}"; {remedy}'
            )


def _check_classifier(cfg: Config, classes: Sequence[str]) -> None:
    """The model must score the classes that labels count."""
    model = cfg.get('model') or {}
    vocabulary = (model.get('classifier') or {}).get('vocabulary')
    scored = any(
        _is(metric, 'BoxClassificationMetric') for metric in _metrics(cfg)
    )
    if scored and vocabulary is not None:
        names = load_vocabulary(vocabulary).classes
        check_same_classes(classes, names, 'model.classifier.vocabulary')


def _is(setting: dict, name: str) -> bool:
    """Whether a setting builds a class, given by name or itself."""
    kind = setting.get('type', '')
    kind = kind if isinstance(kind, str) else kind.__name__
    return kind.split('.')[-1] == name


def _metrics(cfg: Config) -> List[dict]:
    evaluator = cfg.get('test_evaluator') or []
    if isinstance(evaluator, dict):
        evaluator = evaluator.get('metrics', [evaluator])
    return [metric for metric in evaluator if isinstance(metric, dict)]


def _check_captions(step: dict, ids: Sequence[Any]) -> None:
    path = step['ann_file']
    content = _read(path, step.get('backend_args'))
    listed = {image['id'] for image in content.get('images', ())}
    listed.update(each['image_id'] for each in content.get('annotations', ()))
    missing = [img_id for img_id in ids if img_id not in listed]
    if missing:
        raise DataError(
            f'image {missing[0]} is not in {path} ({len(missing)} of '
            f'{len(ids)} images are missing): give LoadCaptions the captions '
            'of the same split, or list the images there, without captions'
        )


def _check_proposals(
    dataset: dict, images: Sequence[dict], kind: type
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
            'give that file as test_dataloader.dataset.proposal_file'
        ) from error
    root = dataset.get('data_root') or ''
    prefix = osp.join(root, (dataset.get('data_prefix') or {}).get('img', ''))
    # LVIS v1 goes by the address, which ends with COCO's folder and name
    key_of_name = (
        'coco_url' if issubclass(kind, LVISV1Dataset) else 'file_name'
    )
    missing = []
    for image in images:
        name = osp.join(prefix, image[key_of_name])
        key = f'{osp.basename(osp.dirname(name))}/{osp.basename(name)}'
        if key not in found:
            missing.append(key)
    if missing:
        raise DataError(
            f'image {missing[0]} is not in the proposals {path} '
            f'({len(missing)} of {len(images)} images are missing): the '
            'detector must be run on the same annotations, from a folder of '
            'the same name'
        )
    if len(found) > len(images):
        raise DataError(
            f'proposals {path} have {len(found)} images, the annotations only '
            f'{len(images)}: mmdet takes proposals of the same images alone'
        )
