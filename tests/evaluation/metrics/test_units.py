"""What is drawn for intervals gives the figures of the metrics."""

import contextlib
import io
import json

import numpy as np
import pytest
import torch
from mmdet.evaluation import RefExpMetric
from mmpretrain.evaluation import Accuracy
from optional_packages import needs_lvis

from harmoclip_mm.evaluation import LVISAPMetric, find_units


def once(units):
    """The figure of each image once, in percent."""
    return float(units.figures(np.ones((1, units.num_images)))[0])


def test_accuracy_of_images():
    rng = torch.Generator().manual_seed(0)
    metric = Accuracy(topk=(1, 5), thrs=None)
    results = [
        dict(pred_score=torch.rand(9, generator=rng), gt_label=label)
        for label in torch.arange(30)[:, None] % 9
    ]
    figures = metric.compute_metrics(results)
    units = find_units(metric, results)
    assert set(units) == set(figures) == {'top1', 'top5'}
    for key, value in figures.items():
        assert once(units[key]) == pytest.approx(value) and 0 < value < 100


def test_expressions_are_drawn_with_their_photo(tmp_path):
    rng = np.random.default_rng(0)
    images = [
        dict(
            id=number,
            file_name=f'{number // 3}.jpg',
            dataset_name=('refcoco', 'refcocog')[number % 2],
        )
        for number in range(24)
    ]
    annotations = [
        dict(id=n, image_id=n, category_id=1, bbox=[10, 10, 20, 20])
        for n in range(24)
    ]
    categories = [dict(id=1, name='object')]
    file = tmp_path / 'expressions.json'
    file.write_text(
        json.dumps(
            dict(images=images, annotations=annotations, categories=categories)
        )
    )
    with contextlib.redirect_stdout(io.StringIO()):
        metric = RefExpMetric(str(file))
        results = [
            dict(
                img_id=number,
                bboxes=np.array([10, 10, 30, 30.0])
                + rng.choice([0, 50], (12, 1), p=[0.2, 0.8]),
                scores=np.ones(12),
            )
            for number in range(24)
        ]
        figures = metric.compute_metrics(results)
    units = find_units(metric, results)
    assert len(units) == 6  # nothing is of RefCOCO+
    for key, each in units.items():
        assert once(each) == pytest.approx(100 * figures[key]), key
        assert each.num_images == 8 and len(each.images) == 12
    assert 0 < figures['refcoco_precision@1'] < 1


@needs_lvis
def test_precision_of_lvis_and_of_some_of_its_images(tmp_path):
    rng = np.random.default_rng(0)
    images = [
        dict(
            id=number,
            width=99,
            height=99,
            neg_category_ids=[1],
            not_exhaustive_category_ids=[2] * (number % 2),
        )
        for number in range(8)
    ]
    truth, found = [], []
    for number in range(8):
        corners = rng.integers(0, 60, (9, 2)).astype(float)
        kinds = rng.integers(0, 4, 9)
        for (x, y), kind in zip(corners[:6], kinds):
            truth.append(
                dict(
                    id=len(truth) + 1,
                    image_id=number,
                    category_id=int(kind) + 1,
                    bbox=[x, y, 30, 30],
                    area=900,
                )
            )
        moved = corners + rng.normal(size=(9, 2))
        pred = dict(
            img_id=number,
            bboxes=np.concatenate([moved, moved + 30], axis=1),
            labels=kinds,
            scores=rng.random(9),
        )
        found.append((None, pred))
    categories = [
        dict(id=n + 1, name=f'{n}', frequency='rcff'[n]) for n in range(4)
    ]
    file = tmp_path / 'lvis.json'
    file.write_text(
        json.dumps(
            dict(images=images, annotations=truth, categories=categories)
        )
    )
    figures = []
    for chosen in (range(8), range(5)):
        metric = LVISAPMetric(str(file))
        metric.dataset_meta = dict(classes=tuple('0123'))
        metric.img_ids = list(chosen)
        results = [found[number] for number in chosen]
        figures.append(metric.compute_metrics(results))
        for key, each in find_units(metric, results).items():
            assert each.num_images == len(chosen)
            # mmdet gives three digits
            value = 100 * figures[-1][key]
            assert once(each) == pytest.approx(value, abs=0.051), key
    every, some = figures
    assert 0.1 < every['bbox_AP'] < 1
    assert some['bbox_AP'] > every['bbox_AP'] * 5 / 8
