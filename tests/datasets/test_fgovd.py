import json

import pytest
from mmengine.fileio import LocalBackend, register_backend

from harmoclip_mm.datasets import FGOVDDataset
from harmoclip_mm.errors import DataError
from harmoclip_mm.text import phrases_of

PIPELINE = [
    {'type': 'LoadCheckedImage'},
    {'type': 'mmdet.LoadAnnotations', 'with_bbox': True},
    {'type': 'TokenizeCandidates', 'clip': 'ViT-B-16'},
    {'type': 'PackRegionTextInputs'},
]


def line(name='a.png', kind='1_attributes', right='a red cup', wrong=None):
    return {
        'img_path': name,
        'bbox': [4.0, 6.0, 20.0, 30.0],
        'pos_expression': [right],
        'neg_expression': wrong or ['a blue cup', 'a green cup'],
        'test_type': kind,
        'height': 48,
        'width': 64,
        'image_id': 7,
    }


@pytest.fixture
def build(tiny_data):
    def _build(*lines, name='lines.jsonl', **kwargs):
        if lines:
            tiny_data.jsonl(*lines, name=name)
        kwargs.setdefault('num_negatives', 2)
        return FGOVDDataset(
            ann_file=name,
            data_root=str(tiny_data.root),
            data_prefix={'img': 'images'},
            pipeline=PIPELINE,
            test_mode=True,
            **kwargs,
        )

    return _build


def test_boxes_of_an_image_come_together(build, tiny_data):
    tiny_data.image('a.png')
    dataset = build(
        line(),
        line(kind='shuffle_negatives', wrong=['a dog', 'a cat', 'a third']),
        line('b.png', wrong=['a blue cup', 'a blue cup']),
        line(kind='color'),  # not asked for
        line(kind='3_attributes', wrong=['one is too few']),
    )
    assert dataset.metainfo['subsets'] == ('hard', 'medium', 'easy', 'trivial')
    assert len(dataset) == 2
    sample = dataset[0]['data_samples']
    phrases = 'a red cup', 'a blue cup', 'a green cup', 'a dog', 'a cat'
    assert tuple(phrases_of(sample.metainfo)) == phrases
    assert sample.candidate_ids.shape == (5, 77)
    truth = sample.gt_instances
    assert truth.bboxes.tensor.tolist() == [[4, 6, 24, 36]] * 2
    assert truth.labels.tolist() == [0, 0]
    assert truth.subset_ids.tolist() == [0, 3]
    assert truth.candidate_mask.int().tolist() == [
        [1, 1, 1, 0, 0],
        [1, 0, 0, 1, 1],
    ]
    # equal wrong expressions are one
    assert dataset.get_data_info(1)['instances'][0]['candidates'] == [0, 1]


def test_the_benchmarks_own_files(build, tiny_data):
    folder = tiny_data.root / 'benchmarks'
    folder.mkdir()
    content = {
        'images': [{'id': 5, 'file_name': 'a.png', 'height': 48, 'width': 64}],
        'categories': [
            {'id': 11, 'name': 'a red cup'},
            {'id': 12, 'name': 'a blue cup'},
            {'id': 19, 'name': 'a green cup'},
        ],
        'annotations': [
            {
                'id': 3,
                'image_id': 5,
                'bbox': [4.0, 6.0, 20.0, 30.0],
                'category_id': 12,
                'neg_category_ids': [19, 11],
            }
        ],
    }
    path = folder / '2_attributes.json'
    path.write_text(json.dumps(content))
    for name in ('benchmarks', 'benchmarks/2_attributes.json'):
        dataset = build(name=name, sets=('medium',))
        info = dataset.get_data_info(0)
        assert phrases_of(info) == ['a blue cup', 'a green cup', 'a red cup']
        (instance,) = info['instances']
        assert instance['bbox_label'] == 0 and instance['subset'] == 0
        assert info['img_id'] == 5
    with pytest.raises(DataError, match=r'1_attributes\.json does'):
        build(name='benchmarks')
    content['annotations'][0]['neg_category_ids'] = [19, 13]
    path.write_text(json.dumps(content))
    with pytest.raises(ValueError, match=r'2_attributes\.json, annotation 3'):
        build(name='benchmarks', sets=('medium',))
    path.write_text('[]')
    with pytest.raises(ValueError, match=r'2_attributes\.json is not'):
        build(name='benchmarks', sets=('medium',))


def test_other_file_backends(build, tiny_data):
    """A file and a folder of a store, whatever its names mean here."""

    class Store(LocalBackend):
        def get(self, filepath):
            return super().get(filepath.replace('there', 'benchmarks'))

        def isdir(self, filepath):
            return filepath.endswith('there')

        def list_dir_or_file(self, dir_path, *args):
            path = dir_path.replace('there', 'benchmarks')
            return super().list_dir_or_file(path, *args)

    register_backend('test_fgovd_store', Store, force=True)
    (tiny_data.root / 'benchmarks').mkdir()
    tiny_data.jsonl(line(), name='benchmarks/1_attributes_llava.jsonl')
    store = dict(backend_args={'backend': 'test_fgovd_store'}, sets=('hard',))
    for name in ('there', 'there/1_attributes_llava.jsonl'):
        info = build(name=name, **store).get_data_info(0)
        assert info['img_id'] == 7


def changed(**changes):
    return {**line(), **changes}


@pytest.mark.parametrize(
    ('bad', 'message'),
    [
        ('{', r'lines\.jsonl:2: not valid JSON'),
        (changed(pos_expression=['a', 'b']), r'lines\.jsonl:2: a box has one'),
        (changed(neg_expression=[1, 2]), r":2: 'neg_expression' must"),
        (changed(bbox=[1, 2, 0, 4]), r':2: bbox must be x, y, width'),
        (changed(bbox=[1, 2, 3]), r":2: 'bbox' must be four numbers"),
        (changed(test_type='5'), r":2: test_type must be one of .*'5'"),
        (
            changed(neg_expression=['a red cup', 'x']),
            r':2: the right expression is among the wrong ones',
        ),
    ],
)
def test_bad_lines_are_named(build, bad, message):
    with pytest.raises(ValueError, match=message):
        build(line(), bad)


def test_nothing_to_read(build):
    with pytest.raises(ValueError, match=r'no boxes of hard.*2 of other sets'):
        build(line(kind='color'), line(kind='color'), sets=('hard',))
    with pytest.raises(ValueError, match='sets must name some of'):
        build(line(), sets=('hardest',))
    with pytest.raises(ValueError, match='the name of a json file tells'):
        build(line(), name='unknown.json')


def test_real_lines(coco_photos, harmoclip_scope):
    dataset = FGOVDDataset(
        ann_file='fgovd/region_phrases.jsonl',
        data_root=str(coco_photos),
        pipeline=PIPELINE,
        test_mode=True,
    )
    counts = [0, 0, 0, 0]
    for index in range(len(dataset)):
        for instance in dataset.get_data_info(index)['instances']:
            counts[instance['subset']] += 1
            assert len(instance['candidates']) == 11
    assert counts == [35, 34, 11, 35]
    dataset[0]
