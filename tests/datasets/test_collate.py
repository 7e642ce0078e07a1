import numpy as np
import pytest
import torch
from mmengine.dataset import pseudo_collate
from mmengine.registry import FUNCTIONS
from torch.utils.data import DataLoader

from harmoclip_mm.datasets import RegionPhraseDataset, packed_collate
from harmoclip_mm.packed_list import PackedList

PIPELINE = [
    {'type': 'LoadCheckedImage'},
    {'type': 'mmdet.LoadAnnotations', 'with_bbox': True},
    {'type': 'TokenizeRegionText', 'clip': 'ViT-B-16'},
    {'type': 'PackRegionTextInputs'},
]


@pytest.fixture
def build(tiny_data):
    def _build(*sizes):
        lines = []
        for number, (width, height) in enumerate(sizes):
            name = f'{number}.png'
            tiny_data.image(name, width, height)
            regions = [
                {'bbox': [0, 0, 9 + i, 9], 'phrase': 'dog'}
                for i in range(number % 3)
            ]
            lines.append(
                tiny_data.grounding(
                    name, 'A dog.', *regions, width=width, height=height
                )
            )
        return RegionPhraseDataset(
            ann_file=tiny_data.jsonl(*lines),
            data_root=str(tiny_data.root),
            data_prefix={'img': 'images'},
            pipeline=PIPELINE,
        )

    return _build


def test_a_config_finds_it():
    assert FUNCTIONS.get('harmoclip_mm.packed_collate') is packed_collate


@pytest.mark.parametrize('workers', [0, 2])
def test_batches_are_those_of_pseudo_collate(build, workers):
    dataset = build(*[(32, 24)] * 6)
    loader = DataLoader(
        dataset, batch_size=4, collate_fn=packed_collate, num_workers=workers
    )
    batches = list(loader)
    assert [len(each['inputs']) for each in batches] == [4, 2]
    for batch, start in zip(batches, (0, 4)):
        expected = pseudo_collate(
            [dataset[i] for i in range(start, min(start + 4, 6))]
        )
        assert torch.equal(batch['inputs'], torch.stack(expected['inputs']))
        assert type(batch['data_samples']) is PackedList
        for found, sample in zip(
            batch['data_samples'], expected['data_samples']
        ):
            assert found.metainfo == sample.metainfo
            for name in ('caption_ids', 'phrase_keys', 'phrase_masks'):
                assert torch.equal(found.get(name), sample.get(name))
            one, other = found.gt_instances, sample.gt_instances
            assert torch.equal(one.labels, other.labels)
            boxes = [
                getattr(x.bboxes, 'tensor', x.bboxes) for x in (one, other)
            ]
            assert torch.equal(*boxes)


def test_images_of_several_sizes_stay_a_list(build):
    dataset = build((32, 24), (24, 32), (32, 24))
    loader = DataLoader(
        dataset, batch_size=3, num_workers=1, collate_fn=packed_collate
    )
    (batch,) = loader
    assert [tuple(image.shape) for image in batch['inputs']] == [
        (3, 24, 32),
        (3, 32, 24),
        (3, 24, 32),
    ]
    for number, image in enumerate(batch['inputs']):
        assert np.array_equal(image, dataset[number]['inputs'])
