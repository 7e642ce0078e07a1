"""Mosaics, whose cells are known by their colours."""

import numpy as np
import pytest
from PIL import Image

from harmoclip_mm.datasets.transforms import CaptionMosaic
from harmoclip_mm.registry import DATASETS

CLIP = 'ViT-B-16'  # of 224 px


def sample(number, caption=None):
    img = np.full((30 + number, 50, 3), 10 * number, dtype=np.uint8)
    return {
        'img': img,
        'text': f'Nr. {number}' if caption is None else caption,
    }


@pytest.mark.parametrize('side', [2, 3])
def test_cells_are_regions_with_the_captions_of_their_images(side):
    mosaic = CaptionMosaic(CLIP, grids=[side])
    np.random.seed(0)
    indices = mosaic.get_indexes(range(20))
    assert len(indices) == side**2 - 1 and max(indices) < 20
    samples = [sample(number) for number in range(side**2)]
    results = mosaic(dict(samples[0], mix_results=samples[1:]))
    img, boxes = results['img'], results['gt_bboxes'].tensor.numpy()
    assert img.shape == (224, 224, 3) and results['text'] == ''
    assert results['img_shape'] == results['ori_shape'] == (224, 224)
    found = []
    for label, (left, top, right, bottom) in zip(
        results['gt_bboxes_labels'], boxes.astype(int)
    ):
        (color,) = np.unique(img[top:bottom, left:right])
        found.append(color // 10)
        phrase = results['phrases'][label]
        assert phrase == {'phrase': f'Nr. {found[-1]}', 'tokens_positive': []}
    assert sorted(found) == list(range(side**2)) != found
    # they leave no gap and do not overlap
    sides = boxes[:, 2:] - boxes[:, :2]
    assert sides.prod(1).sum() == 224**2 and np.ptp(sides) <= 1


def test_one_cell_is_the_image_and_keeps_its_caption():
    mosaic = CaptionMosaic(CLIP, grids=[1], size=64)
    assert mosaic.get_indexes(range(20)) == []
    results = mosaic(dict(sample(3), mix_results=[]))
    assert results['text'] == results['phrases'][0]['phrase'] == 'Nr. 3'
    assert results['gt_bboxes'].tensor.tolist() == [[0, 0, 64, 64]]


def test_an_image_without_a_caption_is_no_region():
    captions = 'One.', '', '', ' \n'
    samples = [sample(number, text) for number, text in enumerate(captions)]
    results = CaptionMosaic(CLIP)(dict(samples[0], mix_results=samples[1:]))
    assert len(results['gt_bboxes']) == len(results['phrases']) == 1
    with pytest.raises(ValueError, match=r'grids=\[0, 2\]'):
        CaptionMosaic(CLIP, grids=[0, 2])


def test_in_a_data_set_with_the_randomness_of_its_index(tiny_data):
    names = [f'{number}.png' for number in range(6)]
    for name in names:
        Image.new('RGB', (64, 48), (40 * int(name[0]),) * 3).save(
            tiny_data.root / 'images' / name
        )
    lines = [tiny_data.grounding(n, f'Photo {n[0]}.') for n in names]
    dataset = DATASETS.build(
        dict(
            type='SeededDataset',
            dataset=dict(
                type='mmdet.MultiImageMixDataset',
                dataset=dict(
                    type='RegionPhraseDataset',
                    data_root=str(tiny_data.root),
                    data_prefix=dict(img='images'),
                    ann_file=tiny_data.jsonl(*lines),
                    pipeline=[dict(type='LoadCheckedImage')],
                ),
                pipeline=[
                    dict(type='CaptionMosaic', clip=CLIP, grids=[1, 2]),
                    dict(type='TokenizeRegionText', clip=CLIP),
                    dict(type='PackRegionTextInputs'),
                ],
            ),
        )
    )
    from harmoclip_mm.datasets.seeding import SampleIndex

    counts = set()
    for index in range(6):
        first, again = (
            dataset[SampleIndex(index, (0, 0, index))] for _ in range(2)
        )
        assert (first['inputs'] == again['inputs']).all()
        regions = first['data_samples'].gt_instances
        counts.add(len(regions))
        for box, label in zip(regions.bboxes.tensor.int(), regions.labels):
            phrase = first['data_samples'].phrases[int(label)]['phrase']
            left, top, right, bottom = box.tolist()
            pixels = first['inputs'][:, top:bottom, left:right].unique()
            assert pixels.tolist() == [40 * int(phrase[6])]
        captioned = len(first['data_samples'].caption_ids)
        assert captioned == (len(regions) == 1)
    assert counts == {1, 4}
