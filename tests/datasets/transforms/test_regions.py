import numpy as np
import pytest
import torch
from mmdet.structures.bbox import HorizontalBoxes
from mmdet.structures.mask import BitmapMasks

from harmoclip_mm.datasets.transforms import (
    FilterRegions,
    PackRegionTextInputs,
    SampleGridRegions,
    SampleRegions,
    TokenizeRegionText,
)
from harmoclip_mm.datasets.transforms.regions import REGION_FIELDS


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


def test_small_regions_are_dropped_and_counted():
    transform = SampleRegions(max_regions=2, min_size=4)
    results = transform(sample(4, [3.9, 4, 12, 1]))
    assert results['gt_bboxes_labels'].tolist() == [1, 2]
    assert results['gt_bboxes'].tensor[:, 2].tolist() == [4, 12]
    assert transform.counters.totals() == {'small_boxes': 2}
    transform(sample(1, [2]))
    assert transform.counters.totals() == {'small_boxes': 3}


def test_doubtful_regions_are_dropped_and_counted():
    transform = SampleRegions(max_regions=3, min_score=0.5)
    results = dict(sample(4), gt_scores=np.float32([0.4, 0.5, 1, 0.1]))
    results = transform(results)
    assert results['gt_bboxes_labels'].tolist() == [1, 2]
    assert results['gt_scores'].tolist() == [0.5, 1]
    assert len(results['gt_bboxes']) == 2
    assert transform.counters.totals()['doubtful_boxes'] == 2
    assert len(transform(sample(4))['gt_bboxes']) == 3  # without scores
    kept = SampleRegions()(dict(sample(2), gt_scores=np.float32([0, 1])))
    assert kept['gt_scores'].tolist() == [0, 1]
    with pytest.raises(ValueError, match='min_score'):
        SampleRegions(min_score=1.5)


def test_scores_are_packed_with_their_boxes():
    results = dict(sample(3), img_shape=(20, 20))
    results['gt_scores'] = np.float32([0.25, 0.5, 1])
    packed = PackRegionTextInputs()(results)['data_samples']
    assert packed.gt_instances.scores.tolist() == [0.25, 0.5, 1]
    captions_only = {'img_shape': (20, 20), 'gt_scores': np.float32([1])}
    packed = PackRegionTextInputs()(captions_only)['data_samples']
    assert len(packed.gt_instances) == 0


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


def boxes_of(areas, ignored=()):
    """Boxes of 8 px height and the areas given."""
    results = sample(len(areas))
    corners = np.zeros((len(areas), 4), dtype=np.float32)
    corners[:, 2] = np.asarray(areas) / 8
    corners[:, 3] = 8
    results['gt_bboxes'] = HorizontalBoxes(corners)
    results['gt_ignore_flags'][list(ignored)] = True
    results['gt_masks'] = BitmapMasks(np.zeros((len(areas), 8, 8)), 8, 8)
    return results


def test_areas_at_the_limits_are_kept_and_others_counted():
    transform = FilterRegions(min_area=64, max_area=1024**2)
    results = transform(boxes_of([64, 63, 1024**2, 1024**2 + 8, 100]))
    assert results['gt_bboxes_labels'].tolist() == [0, 2, 4]
    assert len(results['gt_bboxes']) == len(results['gt_masks']) == 3
    assert transform.counters.totals() == {'regions_left_out': 2}


def test_the_first_regions_are_taken_before_areas_are_judged():
    transform = FilterRegions(min_area=64, max_regions=3)
    results = transform(boxes_of([100, 1, 100, 100]))
    assert results['gt_bboxes_labels'].tolist() == [0, 2]


def test_crowds_are_regions_only_if_asked_for():
    results = FilterRegions(max_regions=2)(boxes_of([9] * 4, ignored=[0]))
    assert results['gt_bboxes_labels'].tolist() == [1, 2]
    results = FilterRegions(keep_crowd=True)(boxes_of([9] * 4, ignored=[0]))
    assert results['gt_bboxes_labels'].tolist() == [0, 1, 2, 3]
    assert not results['gt_ignore_flags'].any()


def test_filter_of_nothing_and_bad_limits():
    transform = FilterRegions(min_area=5, max_regions=1)
    assert len(transform(boxes_of([]))['gt_bboxes']) == 0
    assert transform({'img': 1}) == {'img': 1}
    with pytest.raises(ValueError, match='at least 1'):
        FilterRegions(max_regions=0)
    with pytest.raises(ValueError, match='no area is at least 3 and at mos'):
        FilterRegions(min_area=3, max_area=2)


def test_a_value_of_each_box_is_named_in_one_place(monkeypatch):
    """Whatever drops, replaces or packs boxes knows it by that one line."""
    monkeypatch.setitem(REGION_FIELDS, 'gt_weights', 'weights')
    far = 'a dog' + ' and' * 90 + ' a cat'
    spans = [[[2, 5]], [[len(far) - 3, len(far)]], [[2, 5]], []]
    results = dict(
        sample(4, [1, 9, 9, 9]),
        img_shape=(20, 20),
        text=far,
        phrases={
            label: {'phrase': 'dog', 'tokens_positive': each}
            for label, each in enumerate(spans)
        },
        gt_weights=np.array([0.0, 1.0, 2.0, 3.0]),
    )
    results['gt_ignore_flags'][3] = True
    results = SampleRegions(min_size=4)(results)  # without the first
    results = TokenizeRegionText('ViT-B-16')(results)  # nor the second
    packed = PackRegionTextInputs()(results)['data_samples']
    assert packed.gt_instances.weights.tolist() == [2]
    assert packed.ignored_instances.weights.tolist() == [3]
    assert 'gt_weights' not in SampleGridRegions()(results)
