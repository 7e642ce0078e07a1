"""The figures of the page, worked out by hand."""

import numpy as np
import pytest

from harmoclip_mm.errors import UsageError
from harmoclip_mm.text import Vocabulary
from harmoclip_mm.visualization.box_cls_report import (
    class_rows,
    collect,
    summarise,
)


def test_boxes_of_all_images(records):
    boxes = collect(records)
    assert boxes.image_ids == ['one', 'two', 'three']
    assert boxes.images.tolist() == [0, 0, 0, 2, 2]
    assert boxes.labels.tolist() == [0, 0, 0, 1, 4]
    assert boxes.correct.tolist() == [True, False, False, False, True]
    assert np.allclose(boxes.scores, [0.9, 0.8, 0.6, 0.4, 1.0])


def test_figures_by_hand(records, vocabulary):
    summary = summarise(collect(records), vocabulary, num_bins=2)
    assert summary.topk == (1, 5)
    # 2 of 5; classes cat 1/3, dog 0/1, sure 1/1
    assert summary.accuracy['top1'] == pytest.approx(40)
    assert summary.accuracy['macro_top1'] == pytest.approx(400 / 9)
    assert summary.accuracy['animals_top1'] == pytest.approx(25)
    assert 'none_top1' not in summary.accuracy
    assert summary.accuracy['top5'] == 100
    assert summary.counts.tolist() == [3, 1, 0, 0, 1]
    assert summary.taken_for.tolist() == [1, 2, -1, -1, -1]
    assert summary.taken_counts.tolist() == [2, 1, 0, 0, 0]
    # bins (0, .5]: one wrong at .4; (.5, 1]: 2 of 4 right at mean .825
    assert summary.bins.counts.tolist() == [1, 4]
    assert summary.ece == pytest.approx((0.4 + 4 * 0.325) / 5)
    assert summary.mce == pytest.approx(0.4)
    assert [row[3:] for row in summary.coco_sizes] == [(2, 3), (0, 1), (0, 1)]
    # from 8 to 16 px up to 96 to 128 px, empty steps between them stay
    assert [row[1] for row in summary.fine_sizes] == [
        8,
        16,
        24,
        32,
        48,
        64,
        96,
    ]
    assert [row[4] for row in summary.fine_sizes] == [3, 0, 0, 1, 0, 0, 1]


def test_worst_classes_and_their_surest_mistakes(records, vocabulary):
    boxes = collect(records)
    # no class has 5 boxes: the largest one counts
    assert [label for label, _ in summarise(boxes, vocabulary).worst] == [0]
    summary = summarise(boxes, vocabulary, min_boxes=1)
    assert [label for label, _ in summary.worst] == [1, 0]
    assert summary.worst[1][1].tolist() == [1, 2]
    summary = summarise(boxes, vocabulary, min_boxes=1, num_worst=1)
    assert [label for label, _ in summary.worst] == [1]


def test_rows_of_classes(records, vocabulary):
    header, rows = class_rows(summarise(collect(records), vocabulary))
    assert header[:4] == ['class', 'boxes', 'top1', 'top5']
    assert [row[0] for row in rows] == ['dog', 'cat', 'sure']
    assert rows[1][1:] == [3, pytest.approx(100 / 3), 100, 'dog (2)']
    assert rows[2][-1] == ''


def test_a_tie_is_never_right_by_luck(records, vocabulary):
    records[2]['pred_instances']['topk_scores'][1, :2] = 0.5
    boxes = collect(records)
    assert boxes.topk_labels[4].tolist() == [1, 4, 2, 3, 0]
    assert summarise(boxes, vocabulary).accuracy['top1'] == pytest.approx(20)


def test_only_the_best_class_is_known(records, vocabulary):
    for each in records:
        for key in ('topk_labels', 'topk_scores'):
            del each['pred_instances'][key]
    summary = summarise(collect(records), vocabulary)
    assert summary.topk == (1,)
    assert summary.accuracy['top1'] == pytest.approx(40)


def test_errors(records):
    with pytest.raises(UsageError, match='only 2 classes'):
        summarise(collect(records), Vocabulary(('cat', 'dog')))
    with pytest.raises(UsageError, match='none of the 1 images'):
        collect(records[1:2])
