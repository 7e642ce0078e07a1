"""Boxes in every form that people have them in."""

import json

import numpy as np
import pytest
import torch
from mmdet.structures import DetDataSample
from mmengine.structures import InstanceData

from harmoclip_mm.apis.region_boxes import boxes_of, grid_of, read_box_file
from harmoclip_mm.errors import DataError

BOXES = [[1.0, 2.0, 11.0, 22.0], [0.0, 0.0, 5.0, 5.0]]


def sample(scores=(0.5, 0.25)):
    found = InstanceData(bboxes=torch.tensor(BOXES))
    found.scores = torch.tensor(scores)
    return DetDataSample(pred_instances=found)


@pytest.mark.parametrize(
    'source, scored',
    [
        (BOXES, False),
        (np.array(BOXES), False),
        (torch.tensor(BOXES), False),
        ([BOXES], False),
        (sample(), True),
        ([sample()], True),
        (sample().pred_instances, True),
        ([sample().pred_instances], True),
        (dict(bboxes=BOXES, scores=[0.5, 0.25], labels=[3, 4]), True),
        (dict(predictions=[dict(bboxes=BOXES, scores=[0.5, 0.25])]), True),
    ],
)
def test_boxes_of_one_image(source, scored):
    (found,) = boxes_of(source, ['a.jpg'])
    assert found.bboxes.tolist() == BOXES
    assert found.bboxes.dtype == torch.float32
    assert ('scores' in found) == scored
    if scored:
        assert found.scores.tolist() == [0.5, 0.25]


def test_boxes_of_two_images_one_without():
    one, two = boxes_of([BOXES, []], [np.zeros((9, 9, 3), np.uint8)] * 2)
    assert one.bboxes.shape == (2, 4) and two.bboxes.shape == (0, 4)


def coco(tmp_path, **annotation):
    content = dict(
        images=[
            dict(id=7, file_name='b/one.jpg', width=50, height=40),
            dict(id=8, file_name='two.jpg', width=50, height=40),
        ],
        annotations=[dict(image_id=7, bbox=[1, 2, 10, 20], **annotation)],
    )
    path = tmp_path / 'boxes.json'
    path.write_text(json.dumps(content))
    return str(path)


def test_a_coco_file_by_names(tmp_path):
    path = coco(tmp_path, score=0.75)
    assert list(read_box_file(path)) == ['b/one.jpg', 'two.jpg']
    two, one = boxes_of(path, ['x/two.jpg', 'x/b/one.jpg'])
    assert one.bboxes.tolist() == [[1, 2, 11, 22]] and one.scores.tolist() == [
        0.75
    ]
    assert len(two.bboxes) == 0
    with pytest.raises(DataError, match=r'no boxes of image x/three\.jpg'):
        boxes_of(path, ['x/three.jpg'])


def test_the_predictions_of_a_detector_of_mmdet(tmp_path):
    content = dict(bboxes=BOXES, scores=[0.5, 0.25], labels=[0, 1])
    (tmp_path / 'one.json').write_text(json.dumps(content))
    (found,) = boxes_of(str(tmp_path), ['x/one.jpg'])
    assert found.scores.tolist() == [0.5, 0.25]
    with pytest.raises(DataError, match=r'^\S+two\.json cannot be read'):
        boxes_of(str(tmp_path), ['x/two.jpg'])


@pytest.mark.parametrize('kind', ['file', 'folder'])
def test_no_two_images_have_the_boxes_of_one(tmp_path, kind):
    source = tmp_path / 'boxes.json'
    if kind == 'file':
        images = [dict(id=1, file_name='one.jpg')]
        source.write_text(json.dumps(dict(images=images, annotations=[])))
    else:
        source.mkdir()
        (source / 'one.json').write_text(json.dumps(dict(bboxes=BOXES)))
    assert len(boxes_of(source, ['a/one.jpg', './a/one.jpg'])) == 2
    with pytest.raises(DataError, match=r'a/one\.jpg and of b/one\.jpg'):
        boxes_of(source, ['a/one.jpg', 'b/one.jpg'])


def test_a_grid_by_hand():
    found = grid_of((40, 60, 3), 2).bboxes.tolist()
    assert found == [
        [0, 0, 60, 40],
        [0, 0, 30, 20],
        [30, 0, 60, 20],
        [0, 20, 30, 40],
        [30, 20, 60, 40],
    ]
    assert len(grid_of((40, 60), 3).bboxes) == 14
    assert boxes_of(np.int64(2), ['a.jpg']) == boxes_of(2, ['a.jpg']) == [2]


@pytest.mark.parametrize(
    'source, words',
    [
        ([[5, 5, 5, 9]], r'a\.jpg: box 0 .* is empty'),
        ([[0, 0, 1, float('nan')]], 'is empty'),
        ([[1, 2, 3]], 'x1, y1, x2, y2'),
        (np.full((4, 5), 9), r'x1, y1, x2, y2 .*rows of 5'),
        (dict(labels=[1]), 'have no "bboxes"'),
        (dict(bboxes=None), 'x1, y1, x2, y2'),
        (dict(bboxes=BOXES, scores=[1]), 'have a score each or none .*1'),
        ([BOXES, BOXES], 'boxes of 2 images for 1'),
        (DetDataSample(), 'have no "bboxes"'),
        (0, 'a grid of 0'),
        ('absent.json', r'absent\.json does not exist'),
    ],
)
def test_what_is_none_is_an_error(source, words):
    with pytest.raises(DataError, match=words):
        boxes_of(source, ['a.jpg'])


def test_a_file_of_results_alone_is_an_error(tmp_path):
    path = tmp_path / 'results.json'
    path.write_text('[{"image_id": 1, "bbox": [1, 2, 3, 4]}]')
    with pytest.raises(DataError, match='no "images"'):
        boxes_of(str(path), ['a.jpg'])
