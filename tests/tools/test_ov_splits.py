"""Tests of the base and novel annotations of OV-COCO and OV-LVIS."""

import json
import os
import subprocess
import sys
from pathlib import Path

import mmdet
import pytest
from mmdet.datasets import CocoDataset
from mmengine.config import Config

from harmoclip_mm.errors import DataError, UsageError
from harmoclip_mm.models import FederatedCrossEntropyLoss
from harmoclip_mm.registry import DATASETS
from harmoclip_mm.text import load_vocabulary

ROOT = Path(__file__).resolve().parents[2]
TOOL = 'dataset_converters/ov_splits.py'
COCO_OV = ROOT / 'configs/_base_/datasets/coco_ov.py'


def box(number, image, category) -> dict:
    return {
        'id': number, 'image_id': image, 'category_id': category,
        'bbox': [1, 2, 30, 20], 'area': 600, 'iscrowd': 0,
        'segmentation': [[1, 2, 31, 2, 31, 22]],
    }  # fmt: skip


def picture(number) -> dict:
    return {
        'id': number, 'file_name': f'{number}.jpg', 'width': 64, 'height': 48,
        'coco_url': f'http://images.cocodataset.org/train2017/{number}.jpg',
        'neg_category_ids': [], 'not_exhaustive_category_ids': [],
    }  # fmt: skip


@pytest.fixture
def photos_copy(coco_photos, tmp_path) -> Path:
    """The annotations of the photos, to write beside them."""
    folder = tmp_path / 'coco' / 'annotations'
    folder.mkdir(parents=True)
    for split in ('train2017', 'val2017'):
        name = f'instances_{split}.json'
        source = coco_photos / 'annotations' / name
        (folder / name).write_text(source.read_text())
    return tmp_path / 'coco'


def test_coco_equals_mmdets_own_converter(photos_copy, run_tool, tmp_path):
    out = tmp_path / 'out'
    run_tool(TOOL, 'coco', photos_copy, '--out', out)
    mim = Path(mmdet.__file__).parent / '.mim/tools/dataset_converters'
    subprocess.run(
        [sys.executable, mim / 'coco2ovd.py', photos_copy], check=True
    )
    for name in (
        'instances_train2017_seen_2.json',
        'instances_val2017_all_2.json',
    ):
        ours = json.loads((out / name).read_text())
        theirs = json.loads((photos_copy / 'annotations' / name).read_text())
        assert ours == theirs
        assert ours['annotations']


def test_classes_alone_choose_the_same_training_boxes(photos_copy, run_tool):
    """mmdet's CocoDataset leaves out what is not among its classes, so the
    file of all instances trains as the one of base classes does."""
    run_tool(TOOL, 'coco', photos_copy)
    base = Config.fromfile(COCO_OV).base_classes
    found = []
    for name in ('instances_train2017', 'instances_train2017_seen_2'):
        dataset = CocoDataset(
            ann_file=str(photos_copy / 'annotations' / f'{name}.json'),
            metainfo=dict(classes=base),
            data_prefix=dict(img=''),
            filter_cfg=dict(filter_empty_gt=True),
        )
        found.append(
            [
                (each['img_id'], [x['bbox_label'] for x in each['instances']])
                for each in map(dataset.get_data_info, range(len(dataset)))
            ]
        )
    assert found[0] == found[1] and len(found[0]) > 20


def coco_content() -> dict:
    """Two boxes of the 80 categories; the second image is of a novel one."""
    names = load_vocabulary('coco80').classes
    number = {name: i for i, name in enumerate(names, 1)}
    return {
        'images': [picture(1), picture(2)],
        'annotations': [box(1, 1, number['person']), box(2, 2, number['cat'])],
        'categories': [{'id': i, 'name': n} for n, i in number.items()],
    }


@pytest.mark.parametrize(
    'key, index, change, words',
    [
        ('annotations', 0, {'category_id': None}, "'category_id' must be"),
        ('annotations', 0, {'category_id': 99}, 'not list category_id 99'),
        ('annotations', 0, {'image_id': 99}, 'not list image_id 99'),
        ('annotations', 0, {'category_id': 16}, 'no box .*seen_2.*of 2'),
        ('categories', 3, {'name': None}, r"\[3\] \(id 4\): 'name' must be"),
        ('categories', 3, {'name': 'person'}, 'categories 1 and 4 .*"person"'),
        ('images', 0, {'id': None}, r"images\[0\].*'id' must be"),
    ],
)
def test_lists_that_do_not_fit_are_refused(
    tmp_path, run_tool, key, index, change, words
):
    content = coco_content()
    assert content['categories'][15]['name'] == 'cat'
    content[key][index].update(change)
    folder = tmp_path / 'annotations'
    folder.mkdir()
    (folder / 'instances_train2017.json').write_text(json.dumps(content))
    with pytest.raises(DataError, match=words):
        run_tool(TOOL, 'coco', tmp_path)
    assert len(list(folder.iterdir())) == 1


def test_novel_boxes_and_images_without_base_ones_go(tmp_path, run_tool):
    """cat is novel, dining table in neither split, dog's image is empty."""
    names = load_vocabulary('coco80').classes
    number = {name: i for i, name in enumerate(names, 1)}
    content = {
        'images': [picture(1), picture(2), picture(3)],
        'annotations': [
            box(1, 1, number['person']),
            box(2, 1, number['cat']),
            box(3, 2, number['dining table']),
            box(4, 3, number['dog']),
        ],
        'categories': [{'id': i, 'name': n} for n, i in number.items()],
    }
    folder = tmp_path / 'annotations'
    folder.mkdir()
    for split in ('train', 'val'):
        path = folder / f'instances_{split}2017.json'
        path.write_text(json.dumps(content))
    run_tool(TOOL, 'coco', tmp_path)
    train = json.loads(
        (folder / 'instances_train2017_seen_2.json').read_text()
    )
    assert [each['id'] for each in train['annotations']] == [1]
    assert [each['id'] for each in train['images']] == [1]
    assert len(train['categories']) == 48
    val = json.loads((folder / 'instances_val2017_all_2.json').read_text())
    assert [each['id'] for each in val['annotations']] == [1, 2, 4]
    assert [each['id'] for each in val['images']] == [1, 3]
    assert len(val['categories']) == 65
    config = Config.fromfile(COCO_OV)
    order = [each['name'] for each in val['categories']]
    assert tuple(order) == tuple(config.classes)


def test_lvis_trains_on_frequent_and_common_classes(
    tmp_path, run_tool, harmoclip_scope
):
    vocabulary = load_vocabulary('lvis1203')
    rare = set(vocabulary.groups['rare'])
    categories = [
        {
            'id': i,
            'name': name,
            'frequency': 'r' if name in rare else 'f',
            'image_count': i,
        }
        for i, name in enumerate(vocabulary.classes, 1)
    ]
    first_rare = next(c['id'] for c in categories if c['name'] in rare)
    content = {
        'images': [picture(1), picture(2)],
        'annotations': [
            box(1, 1, 1203),
            box(2, 1, first_rare),
            box(3, 2, first_rare),
        ],
        'categories': categories,
    }
    folder = tmp_path / 'annotations'
    folder.mkdir()
    (folder / 'lvis_v1_train.json').write_text(json.dumps(content))
    run_tool(TOOL, 'lvis', tmp_path)
    names = (folder / 'lvis_v1_base_classes.txt').read_text().splitlines()
    assert names == [n for n in vocabulary.classes if n not in rare]
    assert len(names) == 866
    loss = FederatedCrossEntropyLoss(
        str(folder / 'lvis_v1_base_categories.json'), power=1.0
    )
    loss.bind_classes(names)
    assert loss.weights.tolist() == [
        each['image_count'] for each in categories if each['name'] not in rare
    ]
    dataset = DATASETS.build(
        dict(
            type='mmdet.LVISV1Dataset',
            data_root=str(tmp_path),
            ann_file='annotations/lvis_v1_train_base.json',
            metainfo=dict(
                classes=str(folder / 'lvis_v1_base_classes.txt'),
            ),
            data_prefix=dict(img=''),
        )
    )
    (sample,) = [dataset.get_data_info(i) for i in range(len(dataset))]
    (label,) = [each['bbox_label'] for each in sample['instances']]
    assert dataset.metainfo['classes'][label] == vocabulary.classes[-1]


@pytest.mark.parametrize(
    'text, words',
    [
        (None, 'cannot be read'),
        ('no json', 'not valid JSON'),
        ('{"images": [], "annotations": []}', "no list 'categories'"),
        (
            '{"images": [], "annotations": [], "categories": []}',
            'has no category "person"',
        ),
    ],
)
def test_a_wrong_file_is_an_error_that_says_what_to_do(
    tmp_path, run_tool, text, words
):
    folder = tmp_path / 'annotations'
    folder.mkdir()
    if text is not None:
        (folder / 'instances_train2017.json').write_text(text)
    with pytest.raises(UsageError, match=words):
        run_tool(TOOL, 'coco', tmp_path)


def test_an_older_file_stays_where_the_new_one_cannot_be_written(
    photos_copy, run_tool, monkeypatch
):
    folder = photos_copy / 'annotations'
    target = folder / 'instances_train2017_seen_2.json'
    target.write_text('older')
    with monkeypatch.context() as full:
        full.setattr(os, 'fsync', fail_full)
        with pytest.raises(OSError, match='No space left'):
            run_tool(TOOL, 'coco', photos_copy)
    assert target.read_text() == 'older'
    assert not list(folder.glob('*.part'))


def fail_full(descriptor):
    raise OSError(28, 'No space left on device')
