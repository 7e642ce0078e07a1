"""Annotations that would falsify figures are refused before a run."""

import json
import pickle

import pytest
from mmdet.datasets import LVISV1Dataset
from mmengine.registry import init_default_scope

from harmoclip_mm.apis import load_config
from harmoclip_mm.datasets import check_annotations
from harmoclip_mm.datasets.annotation_check import _check_proposals
from harmoclip_mm.errors import DataError, UsageError

CLASSES = ['cat', 'dog', 'bird']
CONFIG = """
default_scope = 'harmoclip_mm'
model = dict(type='HarmoCLIP')
test_dataloader = dict(dataset=dict(
    type='mmdet.CocoDataset', data_root={root!r}, ann_file='boxes.json',
    metainfo=dict(classes={classes}), test_mode=True,
    pipeline=[dict(type='LoadCaptions', ann_file={root!r} + '/texts.json')]))
test_evaluator = [dict(type='BoxClassificationMetric')]
"""


@pytest.fixture
def project(tmp_path):
    """A config, its annotations, and what changes them."""

    class Project:
        config = tmp_path / 'config.py'
        boxes = {
            'images': [
                {'id': i, 'file_name': f'{i}.jpg', 'height': 9, 'width': 9}
                for i in range(3)
            ],
            # "fish" is no class of the data set, which is legal
            'categories': [
                {'id': i, 'name': name}
                for i, name in enumerate([*CLASSES[:2], 'fish', 'bird'])
            ],
            'annotations': [],
        }
        texts = {
            'images': [{'id': i} for i in range(2)],
            'annotations': [{'image_id': 2, 'caption': 'a cat'}],
        }

        def write(self, classes=CLASSES):
            text = CONFIG.format(root=str(tmp_path), classes=list(classes))
            self.config.write_text(text)
            for name in ('boxes', 'texts'):
                content = json.dumps(getattr(self, name))
                (tmp_path / f'{name}.json').write_text(content)

    return Project()


def check(project, options=None):
    cfg = load_config(str(project.config), options)
    init_default_scope('harmoclip_mm')
    check_annotations(cfg.test_dataloader.dataset)


def _same_id(project):
    project.boxes['images'] = [
        *project.boxes['images'],
        {**project.boxes['images'][1], 'file_name': 'other.jpg'},
    ]


def _same_name(project):
    first = project.boxes['categories'][0]
    project.boxes['categories'] = [
        *project.boxes['categories'],
        {**first, 'id': 99},
    ]


def _no_image(project):
    project.boxes['images'] = []


def _not_coco(project):
    project.boxes = {'boxes': []}


def _no_object(project):
    project.boxes = 3


@pytest.mark.parametrize(
    ('change', 'classes', 'message'),
    [
        (_same_id, CLASSES, r'boxes.json: images\[1\] and images\[3\] both '
         'have id 1; give each an id of its own'),
        (_same_name, CLASSES, f'two categories named "{CLASSES[0]}": give '
         'each a name of its own'),
        (_no_image, CLASSES, 'boxes.json holds no image'),
        (_not_coco, CLASSES, "boxes.json is not in COCO format.*'images'"),
        (_no_object, CLASSES, 'boxes.json is not in COCO format'),
        (None, ['cat', 'cow', 'bird'], r'boxes.json has no category "cow", '
         r'class 1 of the data set \(1 of 3 classes are missing\)'),
        (None, ['dog', 'cat', 'bird'], 'boxes.json has "cat" where the data '
         'set has class 0, "dog"; give the classes of the file'),
        (None, ['cat', 'dog', 'cat'], 'metainfo.classes for .*boxes.json has '
         'two classes named "cat": give each a name of its own'),
    ],
)  # fmt: skip
def test_one_clear_error(
    project, tmp_path, run_tool, change, classes, message
):
    if change:
        change(project)
    project.write(classes)
    with pytest.raises(UsageError, match=message) as error:
        run_tool(
            'test.py', project.config, 'none', '--work-dir', tmp_path / 'work'
        )
    assert '\n' not in str(error.value)


def test_good_annotations_also_below_wrappers(project):
    project.write()
    check(project)
    inner = load_config(str(project.config)).test_dataloader.dataset
    init_default_scope('harmoclip_mm')
    inner.metainfo.classes = ['dog', 'cat', 'bird']
    for wrapped in (
        dict(type='RepeatDataset', times=2, dataset=inner),
        dict(type='ConcatDataset', datasets=[dict(type='A'), inner]),
        dict(type='SeededDataset', dataset=dict(type='B', dataset=inner)),
    ):
        with pytest.raises(DataError, match='has "cat" where the data set'):
            check_annotations(wrapped)


def test_training_checks_its_validation(project, run_tool, tmp_path):
    project.write(['dog', 'cat', 'bird'])
    text = project.config.read_text().replace(
        'test_dataloader', 'val_dataloader'
    )
    project.config.write_text(f'{text}\ntrain_dataloader = val_dataloader\n')
    with pytest.raises(UsageError, match='has "cat" where the data set'):
        run_tool('train.py', project.config, '--work-dir', tmp_path / 'work')


def test_a_metric_over_other_images_is_named(project, tmp_path, monkeypatch):
    project.write()
    cfg = load_config(str(project.config))
    init_default_scope('harmoclip_mm')
    dataset = cfg.test_dataloader.dataset
    same = dict(type='CocoMetric', ann_file=str(tmp_path / 'boxes.json'))
    other = dict(same, ann_file=str(tmp_path / 'other.json'))

    said = []
    monkeypatch.setattr(
        'harmoclip_mm.datasets.annotation_check.print_log',
        lambda message, **kwargs: said.append(message),
    )

    def told(dataset, evaluator):
        said.clear()
        check_annotations(dataset, evaluator)
        return list(said)

    assert told(dataset, [dict(type='BoxClassificationMetric'), same]) == []
    (message,) = told(dataset, other)
    assert 'counts all images' in message and 'other.json' in message
    assert told(dict(dataset, indices=2), [same])
    twice = dict(type='ConcatDataset', datasets=[dataset, dataset])
    assert told(twice, [same])


def test_crowds_are_marked_where_pycocotools_looks_for_them(project, tmp_path):
    project.boxes['annotations'] = [{**BOX, 'area': 9}]
    project.write()
    cfg = load_config(str(project.config))
    init_default_scope('harmoclip_mm')
    dataset = cfg.test_dataloader.dataset
    metric = dict(
        type='mmdet.CocoMetric', ann_file=str(tmp_path / 'boxes.json')
    )
    check_annotations(dataset, [dict(type='BoxClassificationMetric')])
    check_annotations(dataset, [dict(metric, type='mmdet.LVISMetric')])
    with pytest.raises(
        DataError, match='annotation 1 of image 2 has no "iscrowd", which mmd'
    ):
        check_annotations(dataset, metric)
    for value in (0, 1, None, '0'):
        project.boxes['annotations'] = [{**BOX, 'area': 9, 'iscrowd': value}]
        project.write()
        if value in (0, 1):
            check_annotations(dataset, metric)
            continue
        with pytest.raises(DataError, match="'iscrowd' must be 0 or 1, not"):
            check_annotations(dataset, metric)


@pytest.mark.parametrize('encoding', ['utf-8-sig', 'utf-16'])
def test_files_are_of_utf_8(project, tmp_path, encoding):
    project.write()
    path = tmp_path / 'boxes.json'
    path.write_text(path.read_text(), encoding=encoding)
    with pytest.raises(DataError, match=r'boxes.json is not valid JSON \('):
        check(project)


def test_a_missing_file(project, run_tool):
    project.write()
    with pytest.raises(UsageError, match=r'no.json cannot be read \(No such'):
        run_tool(
            'test.py', project.config, 'none',
            '--cfg-options', 'test_dataloader.dataset.ann_file=no.json',
        )  # fmt: skip


def test_other_data_sets_are_left_alone(project):
    project.write()
    check(project, {'test_dataloader.dataset.type': 'RegionPhraseDataset'})


@pytest.fixture
def proposals(project, tmp_path):
    """Writes proposals of these images; checks them."""

    def write(content):
        project.write()
        path = tmp_path / 'proposals.pkl'
        if isinstance(content, dict):
            path.write_bytes(pickle.dumps(content))
        elif content is not None:
            path.write_text(content)
        options = {
            'test_dataloader.dataset.proposal_file': 'proposals.pkl',
            'test_dataloader.dataset.data_prefix.img': 'val/',
        }
        check(project, options)

    return write


BOX = {'id': 1, 'image_id': 2, 'category_id': 0, 'bbox': [0, 0, 3, 3]}


def test_annotations_are_numbered_from_one(project):
    """pycocotools takes a match with annotation 0 for no match."""
    project.boxes['annotations'] = [{**BOX, 'area': 9}]
    project.write()
    check(project)
    project.boxes['annotations'] = [{**BOX, 'area': 9, 'id': 0}]
    project.write()
    with pytest.raises(DataError, match=r'boxes.json: .*id 0.* from 1'):
        check(project)


@pytest.mark.parametrize('area', [{}, {'area': 0}])
def test_boxes_have_an_area(project, area):
    """mmdet drops a box of area 0, and fails where there is none."""
    empty = {**BOX, 'bbox': [0, 0, 0.03, 0], 'area': 0}  # one of COCO's own
    project.boxes['annotations'] = [empty]
    project.write()
    check(project)
    project.boxes['annotations'] = [empty, {**BOX, 'id': 7, **area}]
    project.write()
    with pytest.raises(
        DataError, match=r'boxes.json: annotation 7 of image 2 has area'
    ):
        check(project)


@pytest.mark.parametrize(
    ('content', 'message'),
    [
        (None, r'proposals .*proposals.pkl cannot be read \(No such file'),
        ('no pickle', r'proposals .*proposals.pkl cannot be read \('),
        ({'val/0.jpg': 0, 'train/1.jpg': 0}, r'of the 3 of the annotations '
         r"2 are not there \['val/1.jpg'\]"),
        ({f'val/{i}.jpg': 0 for i in range(4)},
         'are of 4 images, and of the 3'),
    ],
)  # fmt: skip
def test_proposals_that_do_not_fit(proposals, content, message):
    with pytest.raises(UsageError, match=message):
        proposals(content)


def test_proposals_that_fit(proposals):
    proposals({f'val/{i}.jpg': 0 for i in range(3)})


def test_proposals_of_lvis_are_named_by_the_address(tmp_path):
    path = tmp_path / 'proposals.pkl'
    path.write_bytes(pickle.dumps({'val2017/1.jpg': 0}))
    data = {'proposal_file': str(path), 'data_prefix': {'img': 'coco/'}}
    url = 'http://images.cocodataset.org/val2017/1.jpg'
    image = {'file_name': '1.jpg', 'coco_url': url}
    _check_proposals(data, [image], LVISV1Dataset)
    with pytest.raises(UsageError, match=r"not there \['val2017/2.jpg'\]"):
        image['coco_url'] = url.replace('1.jpg', '2.jpg')
        _check_proposals(data, [image], LVISV1Dataset)
