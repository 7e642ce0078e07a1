"""AP of weighted images, against pycocotools on images that are repeated."""

import contextlib
import io

import numpy as np
import pytest
from mmdet.evaluation import CocoMetric
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval

from harmoclip_mm.evaluation import find_units
from harmoclip_mm.evaluation.functional import Detections

IMAGES, KINDS = 7, 3


@pytest.fixture(scope='module')
def data():
    """Crowds, misses, boxes found twice, and equal scores in two images."""
    rng = np.random.default_rng(0)
    truth, found = [], []
    for image in range(IMAGES):
        scores = iter(rng.permutation(20) / 20)
        for _ in range(rng.integers(2, 9)):
            box = [*rng.integers(0, 200, 2), *rng.integers(20, 90, 2)]
            kind = int(rng.integers(1, KINDS + 1))
            box = [float(side) for side in box]
            truth.append((image, kind, box, int(rng.random() < 0.15)))
            for _ in range(rng.integers(0, 3)):
                moved = [side + 6 * rng.normal() for side in box]
                kind = kind if rng.random() < 0.7 else 1
                found.append((image, kind, moved, next(scores)))
    return truth, found


def as_coco(data, weights):
    """Images as often as weights say, and what was found in them."""
    truth, found = data
    places = np.repeat(np.arange(IMAGES), weights).tolist()
    coco = COCO()
    annotations = [
        dict(
            image_id=number,
            category_id=kind,
            bbox=box,
            area=box[2] * box[3],
            iscrowd=crowd,
        )
        for number, place in enumerate(places)
        for image, kind, box, crowd in truth
        if image == place
    ]
    coco.dataset = dict(
        images=[dict(id=number) for number in range(len(places))],
        annotations=[dict(x, id=n) for n, x in enumerate(annotations, 1)],
        categories=[dict(id=n + 1, name=f'{n}') for n in range(KINDS)],
    )
    coco.createIndex()
    results = [
        dict(image_id=number, category_id=kind, bbox=box, score=score)
        for number, place in enumerate(places)
        for image, kind, box, score in found
        if image == place
    ]
    return coco, results


def average_precision(data, weights):
    with contextlib.redirect_stdout(io.StringIO()):
        coco, results = as_coco(data, weights)
        judge = COCOeval(coco, coco.loadRes(results), 'bbox')
        judge.evaluate()
        judge.accumulate()
    precision = judge.eval['precision'][..., 0, -1]
    return [100 * x[x > -1].mean() for x in (precision, precision[:1])]


def test_against_repeated_images(data):
    with contextlib.redirect_stdout(io.StringIO()):
        coco, _ = as_coco(data, np.ones(IMAGES, int))
        metric = CocoMetric()
        metric._coco_api = coco
        metric.cat_ids, metric.img_ids = [1, 2, 3], list(range(IMAGES))
        results = []
        for image in range(IMAGES):
            own = [each for each in data[1] if each[0] == image]
            boxes = np.array([each[2] for each in own]).reshape(-1, 4)
            boxes[:, 2:] += boxes[:, :2]
            found = dict(
                img_id=image,
                bboxes=boxes,
                scores=np.array([each[3] for each in own]),
                labels=np.array([each[1] - 1 for each in own]),
            )
            results.append((None, found))
        units = find_units(metric, results)
    rng = np.random.default_rng(1)
    weights = rng.multinomial(IMAGES, np.full(IMAGES, 1 / IMAGES), 6)
    weights[0] = 1
    expected = [average_precision(data, each) for each in weights]
    assert 20 < np.mean(expected) < 80
    for key, column in zip(('bbox_mAP', 'bbox_mAP_50'), zip(*expected)):
        found = units[key].figures(weights.astype(float))
        assert found == pytest.approx(column), key


def test_classes_without_a_true_box_have_no_precision():
    one, yes = np.zeros(1, int), np.ones((1, 1), bool)
    found = Detections(one, one + 1, one + 0.5, yes, yes, one, one, 1)
    weights = np.ones((3, 1))
    assert found.figures(weights).tolist() == [0, 0, 0]
    assert np.isnan(found.select([1]).figures(weights)).all()
