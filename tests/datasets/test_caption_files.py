"""DCI and DOCCI as data sets of retrieval."""

import json

import pytest

from harmoclip_mm.datasets import ImageTextRetrievalDataset
from harmoclip_mm.datasets.counters import collect_counters
from harmoclip_mm.errors import DataError

PIPELINE = [
    {'type': 'LoadCheckedImage'},
    {'type': 'TokenizeRegionText', 'clip': 'ViT-B-16'},
    {'type': 'PackRegionTextInputs'},
]


@pytest.fixture
def build(tiny_data):
    def make(ann_file, **kwargs):
        return ImageTextRetrievalDataset(
            ann_file,
            data_root=str(tiny_data.root),
            data_prefix=dict(img='images'),
            test_mode=True,
            pipeline=PIPELINE,
            **kwargs,
        )

    return make


def test_dci(build, tiny_data):
    folder = tiny_data.root / 'annotations'
    folder.mkdir()
    for name, extra in (('b', 'with two ears'), ('a', 'and so on ' * 40)):
        tiny_data.image(f'{name}.jpg')
        content = dict(
            image=f'{name}.jpg',
            short_caption=f'A cat {name}.',
            extra_caption=extra,
            mask_data={},
            mask_keys=[],
        )
        (folder / f'{name}.json').write_text(json.dumps(content))
    dataset = build('annotations')
    samples = [each['data_samples'] for each in dataset]
    assert [each.img_id for each in samples] == ['a', 'b']
    assert samples[1].captions == ['A cat b.\nwith two ears']
    assert samples[0].caption_ids.shape == (1, 77)
    # the first is longer than the context, the second is not
    assert collect_counters(dataset)['cut_captions'] == (
        1,
        'captions cut at 77 tokens',
    )
    (folder / 'c.json').write_text('{"image": "c.jpg"}')
    with pytest.raises(DataError, match=r"c\.json .*DCI, give .*'short_cap"):
        build('annotations')


def test_docci(build, tiny_data):
    names = dict(test_00000='test', train_00000='train', qual_dev_0='qual_dev')
    for name in names:
        tiny_data.image(f'{name}.jpg')
    lines = [
        dict(
            example_id=name,
            image_file=f'{name}.jpg',
            description=f'About {name}.',
            split=split,
        )
        for name, split in names.items()
    ]
    file = tiny_data.jsonl(*lines, name='docci_descriptions.jsonlines')
    dataset = build(file, split='test')
    (sample,) = [each['data_samples'] for each in dataset]
    assert sample.img_id == 'test_00000'
    assert sample.captions == ['About test_00000.']
    assert len(build(file)) == 3
    tiny_data.jsonl(*lines, '{"split": 1}', name=file)
    with pytest.raises(DataError, match=':4 is none of DOCCI, take '):
        build(file)
    tiny_data.jsonl(*lines, lines[0], name=file)
    with pytest.raises(DataError, match='test_00000 2 times'):
        build(file)
