"""Which classes the labels of a results file mean."""

import json
import os.path as osp
from typing import Any, Dict, Mapping, Optional, Sequence

from mmengine.config import Config
from mmengine.registry import init_default_scope

from harmoclip_mm.errors import UsageError
from harmoclip_mm.registry import DATASETS
from harmoclip_mm.text import Vocabulary, list_vocabularies, load_vocabulary

__all__ = [
    'classes_of_annotations',
    'classes_of_config',
    'classes_of_results',
    'metainfo_of_config',
]


def _with_groups(
    classes: Sequence[str], groups: Optional[Mapping[str, Any]] = None
) -> Vocabulary:
    """A vocabulary; without groups those of a shipped one of its classes."""
    if not groups:
        for name in list_vocabularies():
            known = load_vocabulary(name)
            if known.classes == tuple(classes):
                return known
    return Vocabulary(tuple(classes), dict(groups or {}))


def classes_of_config(cfg: Config) -> Vocabulary:
    """The classes that the test of a config scores.

    Args:
        cfg (Config): Config of a test.

    Returns:
        Vocabulary: That of its ``BoxClassificationMetric``, else the classes
        and the ``{group}_classes`` of the test data set.

    Raises:
        UsageError: If the config has no test data set or names no classes.
    """
    metrics = cfg.get('test_evaluator') or []
    for metric in metrics if isinstance(metrics, list) else [metrics]:
        kind = str(metric.get('type', '')).split('.')[-1]
        if kind == 'BoxClassificationMetric' and metric.get('vocabulary'):
            return load_vocabulary(metric['vocabulary'], metric.get('groups'))
    meta = metainfo_of_config(cfg)
    if not meta.get('classes'):
        raise UsageError(
            f'the test data set of {cfg.filename} names no classes; give a '
            'vocabulary instead'
        )
    end = '_classes'
    groups = {
        key[: -len(end)]: tuple(names)
        for key, names in meta.items()
        if key.endswith(end) and names
    }
    return _with_groups(meta['classes'], groups)


def metainfo_of_config(cfg: Config) -> Dict[str, Any]:
    """What the test data set of a config says of itself.

    Args:
        cfg (Config): Config of a test.

    Returns:
        dict[str, Any]: Its ``metainfo``, with ``classes`` if it has any.

    Raises:
        UsageError: If the config has no test data set.
    """
    if not cfg.get('test_dataloader'):
        raise UsageError(
            f'config {cfg.filename} has no test_dataloader, so it names no '
            'classes; give the config of the test'
        )
    init_default_scope(cfg.get('default_scope', 'harmoclip_mm'))
    dataset = dict(cfg.test_dataloader.dataset, lazy_init=True)
    return DATASETS.build(dataset).metainfo


def classes_of_annotations(
    ann_file: str, records: Sequence[Mapping[str, Any]] = ()
) -> Vocabulary:
    """The categories of an annotation file, in the order of the file.

    mmdet's data sets number them so when all of them are classes.

    Args:
        ann_file (str): File in COCO format.
        records (Sequence[dict]): Records of a results file, whose images
            must be in the annotations. Defaults to none.

    Returns:
        Vocabulary: The classes.

    Raises:
        UsageError: If the file cannot be read, is not in COCO format, or an
            image of the results is not in it.
    """
    if not osp.isfile(ann_file):
        raise UsageError(f'annotation file {ann_file} does not exist')
    try:
        with open(ann_file, encoding='utf-8') as file:
            content = json.load(file)
        names = [category['name'] for category in content['categories']]
        images = {image['id'] for image in content['images']}
        vocabulary = _with_groups(names)
    except (ValueError, KeyError, TypeError) as error:
        raise UsageError(
            f'{ann_file} is no annotation file in COCO format '
            f'({type(error).__name__}: {error})'
        ) from error
    absent = [
        record['img_id']
        for record in records
        if record.get('img_id') not in images
    ]
    if absent:
        raise UsageError(
            f'{len(absent)} of {len(records)} images of the results are not '
            f'in {ann_file}, the first is image {absent[0]}: the results are '
            'of another data set'
        )
    return vocabulary


def classes_of_results(records: Sequence[Dict[str, Any]]) -> Vocabulary:
    """The classes as far as a results file tells them.

    Args:
        records (Sequence[dict]): Records of :func:`load_results`.

    Returns:
        Vocabulary: The names under ``run.classes`` of the first record, else
        'class 0', 'class 1' and so on up to the highest label.
    """
    run = records[0].get('run') or {}
    if run.get('classes'):
        return _with_groups(run['classes'])
    labels = [
        record[group][key]
        for record in records
        for group, key in (
            ('gt_instances', 'labels'),
            ('pred_instances', 'labels'),
            ('pred_instances', 'topk_labels'),
        )
        if len(record[group].get(key, ()))
    ]
    highest = max((int(each.max()) for each in labels), default=0)
    return Vocabulary(tuple(f'class {i}' for i in range(highest + 1)))
