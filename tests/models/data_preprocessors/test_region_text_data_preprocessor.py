import copy

import pytest
import torch
from mmdet.registry import MODELS as MMDET_MODELS
from mmdet.structures import DetDataSample
from mmengine.dataset import pseudo_collate
from mmengine.structures import InstanceData

from harmoclip_mm.models import RegionTextDataPreprocessor
from harmoclip_mm.packed_list import PackedList
from harmoclip_mm.registry import MODELS

CONFIG = dict(
    mean=[122.8, 116.7, 104.1],
    std=[68.5, 66.6, 70.3],
    bgr_to_rgb=True,
    pad_size_divisor=16,
)


def make_batch(*sizes):
    batch = []
    for number, (height, width) in enumerate(sizes):
        generator = torch.Generator().manual_seed(number)
        sample = DetDataSample(metainfo={'img_path': f'{number}.jpg'})
        sample.gt_instances = InstanceData(
            bboxes=torch.rand((number, 4), generator=generator),
            labels=torch.arange(number),
        )
        sample.caption_ids = torch.arange(5)[None] + number
        image = torch.randint(
            0, 256, (3, height, width), generator=generator, dtype=torch.uint8
        )
        batch.append({'inputs': image, 'data_samples': sample})
    return pseudo_collate(batch)


@pytest.fixture
def build(harmoclip_scope):
    def _build(name):
        return MODELS.build(dict(CONFIG, type=name))

    return _build


@pytest.mark.parametrize(
    'sizes, stacked',
    [
        ([(20, 30)] * 3, True),
        ([(20, 30)] * 3, False),
        ([(20, 30), (33, 16)], False),
    ],
)
def test_it_gives_what_mmdets_gives(build, sizes, stacked):
    plain = make_batch(*sizes)
    packed = {
        'inputs': PackedList(plain['inputs']),
        'data_samples': PackedList(copy.deepcopy(plain['data_samples'])),
    }
    if stacked:
        packed['inputs'] = torch.stack(plain['inputs'])
    expected = build('mmdet.DetDataPreprocessor')(plain)
    found = build('RegionTextDataPreprocessor')(packed)
    assert torch.equal(found['inputs'], expected['inputs'])
    for one, other in zip(found['data_samples'], expected['data_samples']):
        assert one.metainfo == other.metainfo
        assert torch.equal(one.caption_ids, other.caption_ids)
        assert torch.equal(one.gt_instances.bboxes, other.gt_instances.bboxes)
        assert torch.equal(one.gt_instances.labels, other.gt_instances.labels)


def test_the_batch_is_left_as_it_was(build):
    batch = make_batch((16, 16), (16, 16))
    batch['data_samples'] = PackedList(batch['data_samples'])
    found = build('RegionTextDataPreprocessor')(batch)
    found['data_samples'][1].gt_instances.bboxes.mul_(2)
    again = build('RegionTextDataPreprocessor')(batch)
    expected = make_batch((16, 16), (16, 16))['data_samples'][1]
    sample = again['data_samples'][1]
    assert torch.equal(
        sample.gt_instances.bboxes, expected.gt_instances.bboxes
    )
    assert 'pad_shape' not in batch['data_samples'][1]


def test_batches_of_other_loaders_are_treated_as_before(build):
    found = build('RegionTextDataPreprocessor')(make_batch((16, 16)))
    assert found['inputs'].shape == (1, 3, 16, 16)
    assert found['data_samples'][0].pad_shape == (16, 16)


@pytest.mark.parametrize(
    ('clip', 'mean', 'std'),
    [
        (
            'ViT-B-16-quickgelu',
            (0.48145466, 0.4578275, 0.40821073),
            (0.26862954, 0.26130258, 0.27577711),
        ),
        ('ViT-B-16-SigLIP2', (0.5,) * 3, (0.5,) * 3),
        ('MobileCLIP-B', (0,) * 3, (1,) * 3),
        (
            dict(
                embed_dim=8,
                vision_cfg=dict(layers=1),
                text_cfg=dict(layers=1),
                preprocess_cfg=dict(mean=(0.1, 0.2, 0.3), std=(0.4, 0.5, 0.6)),
            ),
            (0.1, 0.2, 0.3),
            (0.4, 0.5, 0.6),
        ),
    ],
    ids=['openai', 'siglip', 'none', 'dict'],
)
def test_a_clip_says_how_images_are_normalised(clip, mean, std):
    """Of BGR images, inside an mmdet config, padded as that asks for."""
    preprocess = MMDET_MODELS.build(
        dict(
            type='harmoclip_mm.RegionTextDataPreprocessor',
            clip=clip,
            pad_size_divisor=32,
            pad_mask=True,
        )
    )
    batch = make_batch((20, 30))
    pixels = batch['inputs'][0].flip(0).double() / 255
    expected = (pixels - torch.tensor(mean)[:, None, None]) / torch.tensor(
        std
    )[:, None, None]
    found = preprocess(batch)['inputs'][0]
    assert found.shape == (3, 32, 32)
    torch.testing.assert_close(
        found[:, :20, :30].double(), expected, rtol=0, atol=1e-5
    )


def test_two_normalisations_are_refused():
    with pytest.raises(ValueError, match='mean=None'):
        RegionTextDataPreprocessor(clip='ViT-B-16', mean=[1, 2, 3])
    plain = RegionTextDataPreprocessor(mean=[1, 2, 3], std=[1, 1, 1])
    assert plain.mean.flatten().tolist() == [1, 2, 3]


@pytest.mark.skipif(not torch.cuda.is_available(), reason='no GPU')
def test_samples_go_to_the_gpu_at_once(build):
    batch = make_batch((16, 16), (16, 16), (16, 16))
    batch['data_samples'] = PackedList(batch['data_samples'])
    found = build('RegionTextDataPreprocessor').cuda()(batch)
    assert found['inputs'].is_cuda
    for one, other in zip(found['data_samples'], batch['data_samples']):
        assert one.gt_instances.bboxes.is_cuda and one.caption_ids.is_cuda
        assert torch.equal(one.caption_ids.cpu(), other.caption_ids)
