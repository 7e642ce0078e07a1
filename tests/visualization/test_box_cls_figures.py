"""The figures of the page, worked out by hand."""

import numpy as np
import pytest

from harmoclip_mm.errors import UsageError
from harmoclip_mm.visualization.box_cls_figures import (
    SIDES,
    BoxClsFigures,
    Share,
)


def test_boxes_of_all_images(records):
    figures = BoxClsFigures(records)
    assert figures.num_images == 3
    assert [r['img_id'] for r in figures.records] == ['one', 'three']
    assert figures.images.tolist() == [0, 0, 0, 1, 1]
    assert figures.labels.tolist() == [0, 0, 0, 1, 4]
    assert figures.best.tolist() == [0, 1, 1, 2, 4]
    assert np.allclose(figures.scores, [0.9, 0.8, 0.6, 0.4, 1.0])


def test_figures_by_hand(records):
    figures = BoxClsFigures(records)
    assert figures.topk == (1, 5)
    # 2 of 5; classes cat 1/3, dog 0/1, sure 1/1
    assert figures.accuracy['top1'] == pytest.approx(40)
    assert figures.accuracy['macro_top1'] == pytest.approx(400 / 9)
    assert figures.accuracy['animals_top1'] == pytest.approx(25)
    assert 'none_top1' not in figures.accuracy
    assert figures.accuracy['top5'] == 100
    assert figures.groups == {'all': (3, 5), 'animals': (2, 4)}
    cat, dog, sure = figures.classes.values()
    assert list(figures.classes) == [0, 1, 4]
    assert (cat.name, cat.hits, cat.boxes) == ('cat', 1, 3)
    assert cat.shares == [pytest.approx(1 / 3), 1] and cat.groups == 'animals'
    assert (cat.taken_for, cat.taken) == ('dog', 2)
    assert (dog.taken_for, dog.taken) == ('a <b> & "c"', 1)
    assert (sure.taken_for, sure.taken, sure.groups) == ('', 0, '')
    assert figures.pairs == [
        ('cat', 'dog', 2, pytest.approx(2 / 3)),
        ('dog', 'a <b> & "c"', 1, 1),
    ]
    # one box a bin: right at .9 and 1; wrong at .4, .6 and .8
    bins = figures.calibration
    assert bins.counts.sum() == 5 and bins.counts.max() == 1
    assert bins.error == pytest.approx((0.1 + 0 + 0.4 + 0.6 + 0.8) / 5)


def test_sizes(records):
    # from 8 to 16 px up to 96 to 128 px, empty steps between them stay
    sizes = BoxClsFigures(records).sizes()
    assert [s.name for s in sizes[:2]] == ['8 to 16', '16 to 24']
    assert [s.boxes for s in sizes] == [3, 0, 0, 1, 0, 0, 1]
    assert [s.hits for s in sizes] == [2, *[0] * 6]
    assert sizes[0].share == 2 / 3
    assert np.isnan(sizes[1].share) and np.isnan(sizes[1].interval).all()


def test_sizes_have_the_ends_of_coco_s():
    params = pytest.importorskip('pycocotools.cocoeval').Params('bbox')
    assert {low for low, _ in params.areaRng} <= {side**2 for side in SIDES}


def test_a_box_is_in_the_range_that_begins_with_its_area(records):
    truth = records[0]['gt_instances']
    truth['bboxes'] = np.array([[0, 0, 31, 33], [0, 0, 32, 32], [9, 9, 5, 5]])
    sizes = {s.name: s.boxes for s in BoxClsFigures(records[:1]).sizes()}
    found = {name: count for name, count in sizes.items() if count}
    assert found == {'0 to 8': 1, '24 to 32': 1, '32 to 48': 1}


def test_interval():
    """Wilson's, z = 1.96: (480 + z^2/2 +- z sqrt(249.6 + z^2/4)) / 1003.84."""
    low, high = Share('x', 480, 1000).interval
    assert (low, high) == pytest.approx((0.44917, 0.51098), abs=2e-5)


def test_worst_classes_and_their_surest_mistakes(records):
    figures = BoxClsFigures(records)
    (cat,) = figures.worst(8, min_boxes=3)
    assert cat[0].name == 'cat'
    worst = figures.worst(8, min_boxes=1)
    assert [each.name for each, _ in worst] == ['dog', 'cat']
    assert worst[1][1].tolist() == [1, 2]
    assert len(figures.worst(1, min_boxes=1)) == 1


def test_a_tie_is_never_right_by_luck(records):
    records[2]['pred_instances']['topk_scores'][1, :2] = 0.5
    figures = BoxClsFigures(records)
    assert figures.best[4] == 1
    assert figures.accuracy['top1'] == pytest.approx(20)
    for each in records:  # equal as probabilities alone
        pred = each['pred_instances']
        pred['topk_logits'] = np.tile(
            -np.arange(5.0), (len(pred['labels']), 1)
        )
    assert BoxClsFigures(records).accuracy['top1'] == pytest.approx(40)


def test_only_the_best_class_is_known(records):
    for each in records:
        for key in ('topk_labels', 'topk_scores'):
            each['pred_instances'][key] = each['pred_instances'][key][:, :1]
    figures = BoxClsFigures(records)
    assert figures.topk == (1,)
    assert figures.accuracy['top1'] == pytest.approx(40)


def test_errors(records):
    with pytest.raises(UsageError, match='only 2 classes'):
        records[0]['run'] = {'classes': ('cat', 'dog'), 'groups': {}}
        BoxClsFigures(records)
    with pytest.raises(UsageError, match='none of the 1 images'):
        BoxClsFigures(records[1:2])
