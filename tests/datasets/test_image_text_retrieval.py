import hashlib
import json
from pathlib import Path

import pytest

from harmoclip_mm.datasets import ImageTextRetrievalDataset, caption_files
from harmoclip_mm.datasets.transforms import BadImageError
from harmoclip_mm.errors import DataError

SPLIT_SHA256 = (
    'd20da3dd48646d91a7ff7837c1c1f591d52c75e72921b2fd7f6854dc1093339f'
)
PIPELINE = [
    {'type': 'LoadCheckedImage'},
    {'type': 'TokenizeRegionText', 'clip': 'ViT-B-16'},
    {'type': 'PackRegionTextInputs'},
]
COCO = {
    'images': [
        {'id': 7, 'file_name': 'a.png', 'height': 48, 'width': 64},
        {'id': 5, 'file_name': 'b.png', 'height': 48, 'width': 64},
        {'id': 9, 'file_name': 'c.png', 'height': 48, 'width': 64},
    ],
    'annotations': [
        {'id': 1, 'image_id': 5, 'caption': 'b one'},
        {'id': 2, 'image_id': 7, 'caption': 'a one'},
        {'id': 3, 'image_id': 5, 'caption': 'b two'},
        {'id': 4, 'image_id': 5, 'caption': 'b three'},
    ],
}
KARPATHY = {
    'dataset': 'flickr30k',
    'images': [
        {
            'filename': f'{name}.png',
            'imgid': number,
            'split': split,
            'sentences': [{'raw': f'{name} {i}'} for i in range(5)],
            **extra,
        }
        for number, (name, split, extra) in enumerate(
            [
                ('a', 'train', {}),
                ('b', 'test', {}),
                ('c', 'restval', {'filepath': 'images', 'cocoid': 42}),
            ]
        )
    ],
}


@pytest.fixture
def build(tiny_data):
    def _build(content, prefix='images', **kwargs):
        path = tiny_data.root / 'captions.json'
        path.write_text(
            content if isinstance(content, str) else json.dumps(content)
        )
        return ImageTextRetrievalDataset(
            ann_file='captions.json',
            data_root=str(tiny_data.root),
            data_prefix={'img': prefix},
            pipeline=PIPELINE,
            test_mode=True,
            **kwargs,
        )

    return _build


def test_coco_captions(build, tiny_data):
    tiny_data.image('b.png')
    dataset = build(COCO)
    # One sample an image in the order of the file; c has no captions.
    assert [dataset.get_data_info(i)['img_id'] for i in (0, 1)] == [7, 5]
    assert len(dataset) == 2
    sample = dataset[1]['data_samples']
    assert sample.captions == ['b one', 'b two', 'b three']
    assert sample.caption_ids.shape == (3, 77)
    assert sample.gt_instances.bboxes.shape == (0, 4)
    assert sample.scale_factor == (1.0, 1.0)
    assert 'phrase_ids' not in sample
    short = build(COCO, max_captions=2)
    assert short.get_data_info(1)['captions'] == ['b one', 'b two']


def test_karpathy_splits(build, tiny_data):
    dataset = build(KARPATHY, split='test')
    assert len(dataset) == 1
    info = dataset.get_data_info(0)
    assert info['img_path'] == str(tiny_data.root / 'images' / 'b.png')
    assert info['captions'] == [f'b {i}' for i in range(5)]
    assert info['img_id'] == 1
    dataset = build(KARPATHY, split=('train', 'restval'), prefix='')
    assert len(dataset) == 2
    info = dataset.get_data_info(1)
    assert info['img_path'] == str(tiny_data.root / 'images' / 'c.png')
    assert info['img_id'] == 42
    assert len(build(KARPATHY)) == 3


@pytest.mark.parametrize(
    ('content', 'kwargs', 'message'),
    [
        ({'images': [{'id': 1}]}, {}, "'filename' is missing"),
        ({}, {}, 'is not a COCO captions file, nor'),
        (KARPATHY, {'split': 'val'}, r"no image with captions in .*'val'"),
        (COCO, {'split': 'val'}, r"'val',.*only \"test\" ships"),
        (COCO, {'split': 'test'}, 'lacks 5000 of the 5000 images of the spl'),
        (
            {**COCO, 'images': COCO['images'][:1] * 2 + COCO['images'][1:]},
            {},
            r'images\[0\] and images\[1\] both have id 7',
        ),
        (
            {**COCO, 'images': COCO['images'][:1]},
            {},
            r'captions\.json does not list image_id 5 of annotation 1',
        ),
        (
            {'images': KARPATHY['images'][:1] * 2},
            {},
            'lists image 0 2 times',
        ),
    ],
)
def test_bad_files(build, content, kwargs, message):
    with pytest.raises(DataError, match=message):
        build(content, **kwargs)


def test_the_split_that_ships(build):
    """Karpathy's test images of COCO's own captions file."""
    path = Path(caption_files.__file__).parent / 'data'
    text = (path / 'karpathy_coco_test.txt').read_bytes()
    assert hashlib.sha256(text).hexdigest() == SPLIT_SHA256
    ids = [int(line) for line in text.split()]
    assert len(set(ids)) == 5000 and ids == sorted(ids)
    # test images of Karpathy among COCO's photos at hand, read elsewhere
    assert {99053, 255165, 391895, 519208} <= set(ids)
    others = sorted(set(range(600)) - set(ids))
    images = [
        {'id': i, 'file_name': f'COCO_val2014_{i:012}.jpg'}
        for i in (*others, *ids)
    ]
    annotations = [  # later ids first
        {'id': 9 * i + k, 'image_id': i, 'caption': f'{i} {k}'}
        for k in range(5, -1, -1)
        for i in (*others, *ids)
    ]
    dataset = build(
        {'images': images, 'annotations': annotations},
        prefix='',
        split='test',
        max_captions=5,
    )
    assert [dataset.get_data_info(i)['img_id'] for i in range(5000)] == ids
    sample = dataset.get_data_info(7)
    name = f'COCO_val2014_{ids[7]:012}.jpg'
    assert sample['img_path'].endswith(f'/val2014/{name}')
    assert sample['captions'] == [f'{ids[7]} {k}' for k in range(5)]


def test_a_missing_file_and_a_missing_image(build, tiny_data):
    with pytest.raises(DataError, match=r'no\.json does not exist'):
        ImageTextRetrievalDataset(ann_file='no.json', data_root='nowhere')
    with pytest.raises(BadImageError, match=r'a\.png: .*data_root'):
        build(COCO)[0]


def test_real_captions(coco_photos, harmoclip_scope):
    dataset = ImageTextRetrievalDataset(
        ann_file='annotations/captions_val2017.json',
        data_root=str(coco_photos),
        data_prefix={'img': 'val2017'},
        pipeline=PIPELINE,
        test_mode=True,
    )
    assert len(dataset) == 27
    shapes = [dataset[i]['data_samples'].caption_ids.shape for i in range(27)]
    assert sum(rows for rows, _ in shapes) == 135
