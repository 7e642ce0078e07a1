"""Classes by config, annotations and results file."""

import json

import numpy as np
import pytest
from mmengine.config import Config

from harmoclip_mm.apis import (
    UsageError,
    classes_of_annotations,
    classes_of_config,
    classes_of_results,
)
from harmoclip_mm.text import load_vocabulary


def test_metric_of_a_config():
    metrics = [
        {'type': 'ImageTextRetrievalMetric'},
        {
            'type': 'harmoclip_mm.BoxClassificationMetric',
            'vocabulary': 'lvis1203',
        },
    ]
    found = classes_of_config(Config({'test_evaluator': metrics}))
    assert found == load_vocabulary('lvis1203') and found.groups


def test_data_set_of_a_config(harmoclip_scope):
    dataset = {
        'type': 'mmdet.CocoPanopticDataset',
        'data_prefix': {'img': '', 'seg': ''},
        'ann_file': 'not/there.json',  # only the names are asked for
        'metainfo': {
            'classes': ('cat', 'sky'),
            'thing_classes': ('cat',),
            'stuff_classes': ('sky',),
        },
    }
    cfg = Config(
        {
            'test_dataloader': {'dataset': dataset},
            'test_evaluator': {'type': 'BoxClassificationMetric'},
        }
    )
    found = classes_of_config(cfg)
    assert found.classes == ('cat', 'sky')
    assert found.groups == {'thing': ('cat',), 'stuff': ('sky',)}
    with pytest.raises(UsageError, match='no test_dataloader'):
        classes_of_config(Config({}))


def test_annotations_and_their_images(tmp_path):
    path = tmp_path / 'a.json'
    content = {
        'images': [{'id': 3}, {'id': 4}],
        'categories': [{'id': 9, 'name': 'dog'}, {'id': 2, 'name': 'cat'}],
    }
    path.write_text(json.dumps(content))
    found = classes_of_annotations(str(path), [{'img_id': 4}])
    assert found.classes == ('dog', 'cat')  # in the order of the file
    with pytest.raises(UsageError, match=r'1 of 2 images .* is image 5'):
        classes_of_annotations(str(path), [{'img_id': 4}, {'img_id': 5}])
    with pytest.raises(UsageError, match='does not exist'):
        classes_of_annotations(str(tmp_path / 'b.json'))
    for text in ('{', '[]', '{"images": []}'):
        path.write_text(text)
        with pytest.raises(UsageError, match='no annotation file in COCO'):
            classes_of_annotations(str(path))


def test_what_the_results_tell():
    record = {
        'gt_instances': {'labels': np.array([1])},
        'pred_instances': {
            'labels': np.array([0]),
            'topk_labels': np.array([[0, 2]]),
        },
    }
    numbers = classes_of_results([record])
    assert numbers.classes == ('class 0', 'class 1', 'class 2')
    lvis = load_vocabulary('lvis1203')
    record['run'] = {'classes': list(lvis.classes)}
    assert classes_of_results([record]).groups == lvis.groups
