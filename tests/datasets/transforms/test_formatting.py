import numpy as np
import pytest
import torch
from mmdet.structures.bbox import HorizontalBoxes

from harmoclip_mm.datasets.transforms import (
    PackRegionTextInputs,
    TokenizeRegionText,
)
from harmoclip_mm.registry import DATASETS


def test_pack_of_a_tokenized_sample():
    results = {
        'img': np.zeros((8, 6, 3), dtype=np.uint8),
        'img_id': 3,
        'img_path': 'a.jpg',
        'ori_shape': (16, 12),
        'img_shape': (8, 6),
        'scale_factor': (0.5, 0.5),
        'text': 'a dog',
        'phrases': {0: {'phrase': 'dog', 'tokens_positive': [[2, 5]]}},
        'gt_bboxes': HorizontalBoxes(np.ones((2, 4), dtype=np.float32)),
        'gt_bboxes_labels': np.zeros(2, dtype=np.int64),
        'gt_ignore_flags': np.zeros(2, dtype=bool),
    }
    packed = PackRegionTextInputs()(TokenizeRegionText('ViT-B-16')(results))
    assert packed['inputs'].shape == (3, 8, 6)
    assert packed['inputs'].dtype == torch.uint8
    sample = packed['data_samples']
    assert len(sample.gt_instances) == 2
    assert sample.gt_instances.labels.dtype == torch.int64
    assert sample.metainfo == {
        'img_id': 3,
        'img_path': 'a.jpg',
        'ori_shape': (16, 12),
        'img_shape': (8, 6),
        'scale_factor': (0.5, 0.5),
        'flip': False,
        'flip_direction': None,
        'text': 'a dog',
        'phrases': {0: {'phrase': 'dog', 'tokens_positive': [[2, 5]]}},
    }
    for key in ('caption_ids', 'phrase_ids', 'phrase_masks'):
        assert sample.get(key).shape == (1, 77)
    # They are data, so they follow the sample to a device or a dtype.
    assert sample.to('meta').phrase_masks.device.type == 'meta'


def test_a_tensor_of_a_transform_goes_to_the_model_under_its_name():
    image = np.zeros((8, 6, 3), dtype=np.uint8)
    results = {'img': image, 'depth': torch.ones(2), 'note': 'not data'}
    sample = PackRegionTextInputs()(results)['data_samples']
    assert sample.depth.tolist() == [1, 1] and 'note' not in sample


def test_crowds_are_counted():
    pack = PackRegionTextInputs()
    sample = pack(
        {
            'img': np.zeros((8, 6, 3), dtype=np.uint8),
            'gt_bboxes': np.ones((3, 4), dtype=np.float32),
            'gt_bboxes_labels': np.arange(3),
            'gt_ignore_flags': np.array([False, True, False]),
        }
    )['data_samples']
    assert sample.gt_instances.labels.tolist() == [0, 2]
    assert pack.counters.totals() == {'ignored_boxes': 1}


def test_pack_without_texts_and_boxes():
    packed = PackRegionTextInputs()(
        {'img': np.zeros((8, 6, 3), dtype=np.uint8)}
    )
    sample = packed['data_samples']
    assert sample.gt_instances.bboxes.shape == (0, 4)
    assert sample.gt_instances.labels.dtype == torch.int64
    assert sample.scale_factor == (1.0, 1.0)
    assert 'caption_ids' not in sample and 'phrase_ids' not in sample


@pytest.mark.parametrize('squash', [True, False])
def test_boxes_and_captions_of_mmdets_coco_in_one_pass(
    coco_photos, harmoclip_scope, squash
):
    resize = [{'type': 'mmdet.Resize', 'scale': (224, 224)}]
    if not squash:
        resize[0]['keep_ratio'] = True
        resize.append({'type': 'mmdet.Pad', 'size': (224, 224)})
    annotations = coco_photos / 'annotations'
    dataset = DATASETS.build(
        {
            'type': 'mmdet.CocoDataset',
            'ann_file': str(annotations / 'instances_val2017.json'),
            'data_prefix': {'img': str(coco_photos / 'val2017')},
            'test_mode': True,
            'pipeline': [
                {'type': 'LoadCheckedImage'},
                {'type': 'mmdet.LoadAnnotations', 'with_bbox': True},
                *resize,
                {
                    'type': 'LoadCaptions',
                    'ann_file': str(annotations / 'captions_val2017.json'),
                },
                {'type': 'TokenizeRegionText', 'clip': 'ViT-B-16'},
                {'type': 'PackRegionTextInputs'},
            ],
        }
    )
    captions = 0
    for index in range(len(dataset)):
        packed = dataset[index]
        assert packed['inputs'].shape == (3, 224, 224)
        sample = packed['data_samples']
        info = dataset.get_data_info(index)
        # Crowds are packed apart, as ignored instances.
        boxes = torch.tensor(
            [x['bbox'] for x in info['instances'] if not x['ignore_flag']]
        )
        factor = torch.tensor(sample.scale_factor * 2)
        found = sample.gt_instances.bboxes.tensor / factor
        assert torch.allclose(found, boxes.reshape(-1, 4), atol=0.05)
        assert sample.gt_instances.labels.max() < 80
        captions += len(sample.caption_ids)
    assert len(dataset) == 27 and captions == 135
