"""Annotations that would falsify a test, given to ``tools/test.py``."""

import hashlib
import json
import pickle

import pytest
from mmdet.datasets import LVISV1Dataset

from harmoclip_mm.apis import (
    UsageError,
    annotations,
    check_annotations,
    load_config,
)

CLASSES = ['cat', 'dog', 'bird']
CONFIG = """
default_scope = 'harmoclip_mm'
model = dict(type='HarmoCLIP', classifier=dict(vocabulary={classes}))
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


def test_good_annotations_give_their_checksum(project, tmp_path):
    project.write()
    found = check_annotations(load_config(str(project.config)))
    content = (tmp_path / 'boxes.json').read_bytes()
    assert found == {
        'ann_file': str(tmp_path / 'boxes.json'),
        'ann_sha256': hashlib.sha256(content).hexdigest(),
    }


def _same_id(project):
    project.boxes['images'] = [
        *project.boxes['images'],
        {'id': 1, 'file_name': 'other.jpg'},
    ]


def _no_image(project):
    project.boxes['images'] = []


def _other_captions(project):
    project.texts['images'] = [{'id': 7}]


def _not_coco(project):
    project.boxes = {'boxes': []}


def _no_object(project):
    project.boxes = 3


@pytest.mark.parametrize(
    ('change', 'classes', 'message'),
    [
        (_same_id, CLASSES, 'boxes.json: 1.jpg and other.jpg both have image '
         'id 1; give each image an id of its own'),
        (_no_image, CLASSES, 'boxes.json holds no image'),
        (_not_coco, CLASSES, "boxes.json is not in COCO format .*'images'"),
        (_no_object, CLASSES, 'boxes.json is not a JSON object'),
        (_other_captions, CLASSES, r'image 0 is not in .*texts.json \(2 of 3 '
         r'images are missing\): give LoadCaptions the captions of'),
        (None, ['cat', 'cow', 'bird'], r'boxes.json has no category "cow", '
         r'class 1 of the data set \(1 of 3 classes are missing\)'),
        (None, ['dog', 'cat', 'bird'], 'boxes.json has "cat" where the data '
         'set has class 0, "dog"; give the classes of the file'),
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


def test_the_model_scores_the_classes_of_the_annotations(project, run_tool):
    project.write()
    with pytest.raises(
        UsageError, match=r'classifier.vocabulary \(80 classes\) is not that'
    ):
        run_tool(
            'test.py', project.config, 'none',
            '--cfg-options', 'model.classifier.vocabulary=coco80',
        )  # fmt: skip
    # what is not scored may have any classes
    cfg = load_config(
        str(project.config),
        {
            'model.classifier.vocabulary': 'coco80',
            'test_evaluator': [{'type': 'ImageTextRetrievalMetric'}],
        },
    )
    assert check_annotations(cfg)


def test_a_missing_file(project, run_tool):
    project.write()
    with pytest.raises(UsageError, match=r'no.json cannot be read \(No such'):
        run_tool(
            'test.py', project.config, 'none',
            '--cfg-options', 'test_dataloader.dataset.ann_file=no.json',
        )  # fmt: skip


def test_other_data_sets_are_left_alone(project):
    project.write()
    options = {'test_dataloader.dataset.type': 'RegionPhraseDataset'}
    assert check_annotations(load_config(str(project.config), options)) == {}


@pytest.fixture
def proposals(project, tmp_path):
    """Writes proposals of these images; gives the config that reads them."""

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
        return load_config(str(project.config), options)

    return write


@pytest.mark.parametrize(
    ('content', 'message'),
    [
        (None, r'proposals .*proposals.pkl cannot be read \(No such file'),
        ('no pickle', r'proposals .*proposals.pkl cannot be read \('),
        ({'val/0.jpg': 0, 'train/1.jpg': 0}, r'image val/1.jpg is not in the '
         r'proposals .*proposals.pkl \(2 of 3 images are missing\)'),
        ({f'val/{i}.jpg': 0 for i in range(4)},
         'have 4 images, the annotations only 3'),
    ],
)  # fmt: skip
def test_proposals_that_do_not_fit(proposals, content, message):
    with pytest.raises(UsageError, match=message):
        check_annotations(proposals(content))


def test_proposals_that_fit(proposals):
    cfg = proposals({f'val/{i}.jpg': 0 for i in range(3)})
    assert 'ann_sha256' in check_annotations(cfg)


def test_proposals_of_lvis_are_named_by_the_address(tmp_path):
    path = tmp_path / 'proposals.pkl'
    path.write_bytes(pickle.dumps({'val2017/1.jpg': 0}))
    data = {'proposal_file': str(path), 'data_prefix': {'img': 'coco/'}}
    url = 'http://images.cocodataset.org/val2017/1.jpg'
    image = {'file_name': '1.jpg', 'coco_url': url}
    annotations._check_proposals(data, [image], LVISV1Dataset)
    with pytest.raises(UsageError, match=r'image val2017/2.jpg is not in'):
        image['coco_url'] = url.replace('1.jpg', '2.jpg')
        annotations._check_proposals(data, [image], LVISV1Dataset)
