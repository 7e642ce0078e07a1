import numpy as np
import pytest
import torch
from mmdet.structures.bbox import HorizontalBoxes

from harmoclip_mm.datasets.transforms import SampleRegions


def sample(count, sides=None):
    sides = np.full(count, 10.0) if sides is None else np.asarray(sides)
    boxes = np.zeros((count, 4), dtype=np.float32)
    boxes[:, 2] = sides
    boxes[:, 3] = 10
    return {
        'gt_bboxes': HorizontalBoxes(boxes),
        'gt_bboxes_labels': np.arange(count),
        'gt_ignore_flags': np.zeros(count, dtype=bool),
    }


def test_random_choice_keeps_order_and_reaches_every_region():
    transform = SampleRegions(max_regions=3)
    seen = set()
    for _ in range(60):
        results = transform(sample(6))
        labels = results['gt_bboxes_labels'].tolist()
        assert len(set(labels)) == 3 and labels == sorted(labels)
        assert len(results['gt_bboxes']) == len(results['gt_ignore_flags'])
        seen.update(labels)
    assert seen == set(range(6))


def test_the_first_ones_for_tests():
    results = SampleRegions(max_regions=2, random=False)(sample(6))
    assert results['gt_bboxes_labels'].tolist() == [0, 1]


def test_small_regions_are_dropped_and_counted():
    transform = SampleRegions(max_regions=2, min_size=4, random=False)
    results = transform(sample(4, [3.9, 4, 12, 1]))
    assert results['gt_bboxes_labels'].tolist() == [1, 2]
    assert results['gt_bboxes'].tensor[:, 2].tolist() == [4, 12]
    assert transform.counters.totals() == {'small_boxes': 2}
    transform(sample(1, [2]))
    assert transform.counters.totals() == {'small_boxes': 3}


def test_plain_arrays_no_regions_and_no_boxes():
    transform = SampleRegions(max_regions=2, min_size=4)
    plain = sample(4, [1, 5, 5, 5])
    plain['gt_bboxes'] = plain['gt_bboxes'].numpy()
    assert len(transform(plain)['gt_bboxes']) == 2
    assert len(transform(sample(0))['gt_bboxes']) == 0
    assert transform({'img': 1}) == {'img': 1}


def test_boxes_keep_their_labels():
    results = sample(50, np.arange(1, 51))
    kept = SampleRegions(max_regions=7)(results)
    widths = kept['gt_bboxes'].tensor[:, 2]
    assert torch.equal(widths, torch.tensor(kept['gt_bboxes_labels'] + 1.0))


def test_a_senseless_number_is_refused():
    with pytest.raises(ValueError, match='at least 1'):
        SampleRegions(max_regions=0)
