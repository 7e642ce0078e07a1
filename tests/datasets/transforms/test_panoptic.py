"""Panoptic regions of real photos and of maps made by hand."""

from pathlib import Path

import numpy as np
import pytest
from mmcv.transforms import Compose
from mmdet.datasets import CocoPanopticDataset
from mmdet.datasets.transforms import Pad, Resize
from PIL import Image
from pycocotools.coco import COCO

from harmoclip_mm.datasets.transforms import (
    FilterRegions,
    LoadCheckedImage,
    LoadPanopticRegions,
    PackRegionTextInputs,
)
from harmoclip_mm.datasets.transforms.annotations import segment_boxes
from harmoclip_mm.errors import DataError


def write_map(path, ids):
    """Save segment ids (H, W) as COCO's panoptic png."""
    rgb = np.stack([ids & 255, ids >> 8 & 255, ids >> 16 & 255], axis=-1)
    Image.fromarray(rgb.astype(np.uint8)).save(path)


@pytest.fixture
def sample(tmp_path):
    """6 x 4 px: stuff on the left, a cat, a crowd, one pixel of sky."""
    ids = np.full((4, 6), 7_000_001)
    ids[:, 3:] = 300
    ids[2:, 4:] = 70_000
    ids[0, 5] = 9
    write_map(tmp_path / 'map.png', ids)
    return {
        'seg_map_path': str(tmp_path / 'map.png'),
        'ori_shape': (4, 6),
        'instances': [
            {'bbox': [2.5, 0, 6, 4], 'bbox_label': 15, 'ignore_flag': 0}
        ],
        'segments_info': [
            {'id': 7_000_001, 'category': 100, 'is_thing': 0},
            {'id': 300, 'category': 15, 'is_thing': 1},
            {'id': 70_000, 'category': 0, 'is_thing': False},
            {'id': 9, 'category': 119, 'is_thing': 0},
        ],
    }


def test_boxes_of_a_map_by_hand(sample):
    results = LoadPanopticRegions(with_mask=True)(sample)
    assert results['gt_bboxes'].tensor.tolist() == [
        [0, 0, 3, 4],  # tight, with the last column
        [2.5, 0, 6, 4],  # a thing: as annotated
        [4, 2, 6, 4],  # a crowd: of its segment
        [5, 0, 6, 1],  # one pixel
    ]
    assert results['gt_bboxes_labels'].tolist() == [100, 15, 0, 119]
    assert results['gt_ignore_flags'].tolist() == [False, False, True, False]
    areas = results['gt_masks'].masks.sum((1, 2)).tolist()
    assert areas == [12, 7, 4, 1] and sum(areas) == 24


def test_masks_are_loaded_only_if_asked_for(sample):
    assert 'gt_masks' not in LoadPanopticRegions()(sample)


def test_boxes_equal_those_of_each_mask():
    rng = np.random.default_rng(0)
    ids = rng.choice([3, 70_000, 9_000_000, 12], (30, 41))
    ids[10:20, 5:8] = 999
    boxes = segment_boxes(ids)
    assert set(boxes) == {3, 70_000, 9_000_000, 12, 999}
    for number, box in boxes.items():
        rows, columns = np.nonzero(ids == number)
        assert box.tolist() == [
            columns.min(), rows.min(), columns.max() + 1, rows.max() + 1
        ]  # fmt: skip


@pytest.mark.parametrize(
    'spoil, message',
    [
        (lambda s: s.update(seg_map_path='/none/a.png'), '/none/a.png: the'),
        (
            lambda s: s.update(ori_shape=(4, 7)),
            '6 x 4 px, but its image 7 x 4',
        ),
        (
            lambda s: s['segments_info'].append({'id': 5, 'category': 0}),
            'map.png has no segment 5',
        ),
        (
            lambda s: Path(s['seg_map_path']).write_bytes(b'\x89PNG'),
            'map.png: the panoptic map cannot be decoded',
        ),
        (
            lambda s: Path(s['seg_map_path']).write_bytes(b''),
            'map.png: the panoptic map cannot be decoded',
        ),
    ],
)
def test_bad_maps_are_named(sample, spoil, message):
    spoil(sample)
    with pytest.raises(DataError, match=message):
        LoadPanopticRegions()(sample)


def test_photos_through_resizing(panoptic_photos, harmoclip_scope):
    """Boxes and masks of real photos: the two agree after the resizing."""
    pipeline = [
        LoadCheckedImage(),
        LoadPanopticRegions(with_mask=True),
        FilterRegions(min_area=64, max_regions=100, keep_crowd=True),
        Resize(scale=(160, 160), keep_ratio=True),
        Pad(size=(160, 160)),
        PackRegionTextInputs(),
    ]
    dataset = CocoPanopticDataset(
        data_root=str(panoptic_photos),
        ann_file='annotations/panoptic_val2017.json',
        data_prefix=dict(img='val2017/', seg='annotations/panoptic_val2017/'),
        test_mode=True,
        indices=4,
    )
    assert len(dataset) == 4
    coco = COCO(str(panoptic_photos / 'annotations/instances_val2017.json'))
    for index in range(4):
        info = dataset.get_data_info(index)
        packed = Compose(pipeline)(info)
        truth = packed['data_samples'].gt_instances
        things = truth.labels < 80
        assert things.any() and not things.all()
        assert truth.masks.masks.shape == (len(truth), 160, 160)
        factor = packed['data_samples'].scale_factor
        for box, mask in zip(
            truth.bboxes.tensor[~things].tolist(),
            truth.masks.masks[~things.numpy()],
        ):
            rows, columns = np.nonzero(mask)
            found = [
                columns.min(), rows.min(), columns.max() + 1, rows.max() + 1
            ]  # fmt: skip
            np.testing.assert_allclose(found, box, atol=1.5)
        # the annotated boxes of the instances, not those of what is seen
        annotated = np.array(
            [
                each['bbox']
                for each in coco.loadAnns(coco.getAnnIds(info['img_id']))
            ]
        )
        boxes = truth.bboxes.tensor[things].numpy() / np.tile(factor, 2)
        boxes[:, 2:] -= boxes[:, :2]
        hits = [
            np.abs(box - annotated).max(axis=1).min() < 0.1 for box in boxes
        ]
        assert np.mean(hits) > 0.9  # all but crowds
