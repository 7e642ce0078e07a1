import numpy as np
import pytest
import torch
from mmdet.structures.bbox import HorizontalBoxes

from harmoclip_mm.datasets.transforms import (
    PackRegionTextInputs,
    SampleGridRegions,
    TokenizeRegionText,
)


def sample():
    return {
        'img': np.zeros((60, 80, 3), dtype=np.uint8),
        'img_shape': (60, 80),
        'text': 'a dog',
        'phrases': {0: {'phrase': 'dog', 'tokens_positive': [[2, 5]]}},
        'gt_bboxes': HorizontalBoxes(np.ones((3, 4), dtype=np.float32)),
        'gt_bboxes_labels': np.zeros(3, dtype=np.int64),
        'gt_ignore_flags': np.zeros(3, dtype=bool),
    }


def test_grids_of_clipself():
    """Up to 6 cells a side, none with more than twice those of the other."""
    grids = SampleGridRegions(max_splits=6).grids
    expected = {
        (m, n)
        for m in range(1, 7)
        for n in range((m + 1) // 2, min(2 * m, 6) + 1)
    }
    assert set(grids) == expected and len(grids) == len(expected) == 24


def test_cells_by_hand(monkeypatch):
    transform = SampleGridRegions(max_splits=3)
    monkeypatch.setattr(
        transform, '_choose', lambda: (2, 3, np.array([0, 2, 4]))
    )
    results = transform(sample())
    third = 80 / 3
    expected = [
        [0, 0, third, 30],
        [2 * third, 0, 80, 30],
        [third, 30, 2 * third, 60],
    ]
    torch.testing.assert_close(
        results['gt_bboxes'].tensor, torch.tensor(expected)
    )
    assert results['gt_bboxes_labels'].tolist() == [0, 0, 0]
    assert not results['gt_ignore_flags'].any()
    assert 'phrases' not in results


def test_a_whole_grid_tiles_the_image():
    transform = SampleGridRegions(max_splits=4, max_regions=16)
    seen = set()
    for _ in range(200):
        boxes = transform(sample())['gt_bboxes'].tensor
        seen.add(len(boxes))
        area = (boxes[:, 2:] - boxes[:, :2]).prod(dim=1).sum()
        assert area.item() == pytest.approx(60 * 80, rel=1e-5)
    assert seen == {m * n for m, n in transform.grids}


def test_at_most_so_many_cells():
    transform = SampleGridRegions(max_splits=6, max_regions=5)
    counts = [len(transform(sample())['gt_bboxes']) for _ in range(60)]
    assert max(counts) == 5


def test_the_rest_of_the_pipeline_follows():
    """Captions are tokenized, phrases are gone, boxes are packed."""
    results = SampleGridRegions()(sample())
    packed = PackRegionTextInputs()(TokenizeRegionText('ViT-B-16')(results))
    data_sample = packed['data_samples']
    assert len(data_sample.gt_instances.bboxes) == len(
        data_sample.gt_instances.labels
    )
    assert data_sample.caption_ids.shape == (1, 77)
    assert 'phrase_ids' not in data_sample


@pytest.mark.parametrize('changes', [{'max_splits': 0}, {'max_regions': 0}])
def test_senseless_numbers_are_refused(changes):
    with pytest.raises(ValueError, match='at least 1'):
        SampleGridRegions(**changes)
