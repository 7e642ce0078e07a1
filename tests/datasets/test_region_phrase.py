import json
import logging

import numpy as np
import pytest
import torch
from mmengine.dataset import pseudo_collate
from mmengine.logging import MMLogger
from PIL import Image
from torch.utils.data import DataLoader

from harmoclip_mm.datasets import RegionPhraseDataset
from harmoclip_mm.datasets.transforms import BadImageError
from harmoclip_mm.errors import DataError, UsageError
from harmoclip_mm.registry import DATASETS

PIPELINE = [
    {'type': 'LoadCheckedImage'},
    {'type': 'mmdet.LoadAnnotations', 'with_bbox': True},
    {'type': 'TextAwareRandomFlip', 'prob': 0.5},
    {'type': 'mmdet.Resize', 'scale': (32, 32)},
    {'type': 'SampleRegions', 'max_regions': 20, 'min_size': 2},
    {'type': 'TokenizeRegionText', 'clip': 'ViT-B-16'},
    {'type': 'PackRegionTextInputs'},
]
DOG = {'bbox': [4, 4, 30, 30], 'phrase': 'dog', 'tokens_positive': [[2, 5]]}


@pytest.fixture
def build(tiny_data):
    def _build(*lines, pipeline=PIPELINE, **kwargs):
        if lines:
            kwargs['ann_file'] = tiny_data.jsonl(*lines)
        return RegionPhraseDataset(
            data_root=str(tiny_data.root),
            data_prefix={'img': 'images'},
            pipeline=pipeline,
            **kwargs,
        )

    return _build


@pytest.fixture
def log(caplog):
    """What mmengine's current logger says, at the level INFO."""
    logger = MMLogger.get_current_instance()
    logger.addHandler(caplog.handler)
    caplog.set_level(logging.INFO)
    yield caplog
    logger.removeHandler(caplog.handler)


def test_sample_contract(build, tiny_data):
    path = tiny_data.image('a.png')
    dataset = build(tiny_data.grounding('a.png', 'A dog.', DOG))
    info = dataset.get_data_info(0)
    info.pop('sample_idx')
    assert info == {
        'img_path': str(path),
        'img_id': 0,
        'height': 48,
        'width': 64,
        'text': 'A dog.',
        'phrases': {0: {'phrase': 'dog', 'tokens_positive': [[2, 5]]}},
        'instances': [
            {'bbox': [4, 4, 30, 30], 'bbox_label': 0, 'ignore_flag': 0}
        ],
    }
    packed = dataset[0]
    assert packed['inputs'].shape == (3, 32, 32)
    assert packed['inputs'].dtype == torch.uint8
    sample = packed['data_samples']
    assert sample.ori_shape == (48, 64) and sample.img_shape == (32, 32)
    assert sample.text == 'A dog.' and sample.phrases == info['phrases']
    assert sample.caption_ids.shape == (1, 77)


def test_boxes_of_a_reduced_photo_are_those_of_the_whole_one(build, tiny_data):
    """The loader knows from the pipeline how far it may go."""
    path = tiny_data.root / 'images' / 'a.jpg'
    shades = np.add.outer(np.arange(480), np.arange(640)) // 5
    Image.fromarray(shades.astype(np.uint8)).save(path, quality=95)
    dog = {**DOG, 'bbox': [100, 60, 500, 400]}
    size = {'width': 640, 'height': 480}
    line = tiny_data.grounding('a.jpg', 'A dog.', dog, **size)

    def load(reduced, **resize):
        load = {'type': 'LoadCheckedImage', 'reduced': reduced}
        steps = [load, PIPELINE[1]]
        if resize:
            steps.append({'type': 'CLIPResize', 'clip': 'ViT-B-16', **resize})
        return build(line, pipeline=[*steps, PIPELINE[-1]])

    packed = {}
    for reduced in (False, True):
        dataset = load(reduced, mode='longest', size=(96, 160))
        loaded = dataset.pipeline.transforms[0](dataset.get_data_info(0))
        assert loaded['img_shape'] == ((120, 160) if reduced else (480, 640))
        packed[reduced] = dataset[0]
    whole, half = (packed[key]['data_samples'] for key in (False, True))
    boxes = [each.gt_instances.bboxes.tensor for each in (whole, half)]
    assert torch.allclose(*boxes) and boxes[0].tolist() == [[20, 12, 100, 80]]
    for key in ('ori_shape', 'img_shape', 'scale_factor'):
        assert getattr(whole, key) == getattr(half, key)
    assert whole.scale_factor == (0.2, 0.2)
    pixels = [packed[key]['inputs'].int() for key in (False, True)]
    assert (pixels[0] - pixels[1]).abs().max() <= 4
    with pytest.raises(UsageError, match=r'CLIPResize .*reduced=False'):
        load(True)


def test_it_is_in_the_registry(tiny_data):
    tiny_data.image('a.png')
    name = tiny_data.jsonl(tiny_data.grounding('a.png', 'A dog.'))
    dataset = DATASETS.build(
        {
            'type': 'RegionPhraseDataset',
            'ann_file': name,
            'data_root': str(tiny_data.root),
        }
    )
    assert len(dataset) == 1


@pytest.fixture
def three_lines(tiny_data):
    return [
        tiny_data.grounding('a.png', 'A dog.', DOG),
        tiny_data.grounding('b.png', 'Nothing here.'),
        tiny_data.grounding('a.png', 'My dog again.', DOG),
    ]


def test_caption_choices(build, three_lines):
    def captions(choice):
        dataset = build(*three_lines, caption_choice=choice)
        np.random.seed(0)
        return [
            {dataset.get_data_info(i)['text'] for _ in range(20)}
            for i in range(len(dataset))
        ]

    a, b, again = 'A dog.', 'Nothing here.', 'My dog again.'
    assert captions('all') == [{a}, {b}, {again}]
    assert captions('random') == [{a, again}, {b}]
    with pytest.raises(ValueError, match='no caption_choice'):
        build(*three_lines, caption_choice='some')


def test_lines_of_an_image_share_its_id(build, three_lines):
    dataset = build(*three_lines, caption_choice='all')
    ids = [dataset.get_data_info(i)['img_id'] for i in range(3)]
    assert ids == [0, 1, 0]
    for line in three_lines:
        line['image_id'] = 581929
    dataset = build(*three_lines)
    assert dataset.get_data_info(0)['img_id'] == 581929


def test_filters(build, three_lines, tiny_data):
    three_lines[2]['grounding']['regions'] = []
    small = tiny_data.grounding('c.png', 'A dog.', DOG, width=31, height=40)
    lines = [*three_lines, small]
    assert len(build(*lines)) == 3
    empty = {'filter_empty_gt': True}
    dataset = build(*lines, filter_cfg=empty)
    assert len(dataset) == 2
    # The line without regions is gone from its image.
    found = {dataset.get_data_info(0)['text'] for _ in range(20)}
    assert found == {'A dog.'}
    assert len(build(*lines, filter_cfg=empty, caption_choice='all')) == 2
    assert len(build(*lines, filter_cfg={'min_size': 32})) == 2
    assert len(build(*lines, filter_cfg=empty, test_mode=True)) == 3
    with pytest.raises(
        ValueError, match=r'of its 4 lines .*min_size.* leaves none'
    ):
        build(*lines, filter_cfg={'min_size': 99})


def test_images_without_regions_go_through_the_pipeline(
    build, three_lines, tiny_data
):
    tiny_data.image('b.png')
    dataset = build(three_lines[1])
    sample = dataset[0]['data_samples']
    assert sample.gt_instances.bboxes.shape == (0, 4)
    assert sample.gt_instances.labels.shape == (0,)
    assert sample.caption_ids.shape == (1, 77)
    assert sample.phrase_ids.shape == sample.phrase_masks.shape == (0, 77)


def test_one_line_sums_up_the_boxes(build, tiny_data, log):
    boxes = [[4, 4, 30, 30], [-4, 0, 9, 9], [70, 0, 90, 9], [5, 5, 5, 9]]
    boxes.append([float('nan'), 0, 1, 1])
    dataset = build(
        tiny_data.grounding('a.png', 'A dog.', {**DOG, 'bbox': boxes})
    )
    assert len(dataset.get_data_info(0)['instances']) == 2
    lines = [r.message for r in log.records if 'boxes' in r.message]
    assert len(lines) == 1
    assert '1 samples of 1 lines with 5 boxes, one for each phrase' in lines[0]
    assert '1 clipped to their image, 3 dropped' in lines[0]


def test_missing_and_empty_annotation_files_tell_the_remedy(build, tiny_data):
    with pytest.raises(
        DataError,
        match=r'none\.jsonl does not exist'
        r'.*data_root=.*dataset_converters',
    ):
        build(ann_file='none.jsonl')
    with pytest.raises(ValueError, match='holds no samples'):
        build('')


def test_bad_lines_are_named_by_file_and_line(build, three_lines, tiny_data):
    with pytest.raises(ValueError, match=r'odvg\.jsonl:2: not valid JSON'):
        build(three_lines[0], '{"filename":')
    outside = {**DOG, 'tokens_positive': [[2, 50]]}
    with pytest.raises(
        ValueError,
        match=r'odvg\.jsonl:4: the span \[2, 50\]'
        ' lies outside its caption of 6',
    ):
        build(*three_lines, tiny_data.grounding('a.png', 'A dog.', outside))


def break_image(path, how):
    if how == 'missing':
        path.unlink()
    elif how == 'text':
        path.write_text('this is no image')
    elif how == 'empty':
        path.write_bytes(b'')
    else:  # cut off
        content = path.read_bytes()
        path.write_bytes(content[: len(content) * 2 // 3])


@pytest.mark.parametrize('how', ['missing', 'text', 'empty', 'cut off'])
@pytest.mark.parametrize('suffix', ['jpg', 'png'])
def test_a_bad_image_is_replaced_logged_and_counted(
    build, tiny_data, log, how, suffix
):
    names = [f'{i}.{suffix}' for i in range(4)]
    paths = [tiny_data.image(name) for name in names]
    lines = [tiny_data.grounding(n, f'A dog {n}', DOG) for n in names]
    break_image(paths[2], how)
    np.random.seed(0)
    dataset = build(*lines)
    samples = [dataset[i]['data_samples'] for i in (0, 1, 2, 2, 3)]
    assert [s.img_path == str(paths[2]) for s in samples] == [False] * 5
    assert dataset.counters.totals()['bad_images'] >= 2
    warnings = [r for r in log.records if r.levelno == logging.WARNING]
    # A path is logged once, however often it comes.
    assert len(warnings) == 1
    assert str(paths[2]) in warnings[0].getMessage()

    dataset = build(*lines, test_mode=True)
    with pytest.raises(BadImageError, match='annotations') as error:
        dataset[2]
    assert str(paths[2]) in str(error.value)


def test_when_every_image_is_bad_training_stops(build, tiny_data):
    dataset = build(tiny_data.grounding('a.png', 'A dog.'), max_refetch=5)
    with pytest.raises(DataError, match='6 samples in a row') as error:
        dataset[0]
    message = str(error.value)
    assert (
        'a.png' in message and f'data_root={str(tiny_data.root)!r}' in message
    )


def test_an_error_of_a_transform_is_not_taken_for_a_bad_image(
    build, tiny_data
):
    tiny_data.image('a.png')

    def broken(results):
        raise ValueError('a bug')

    dataset = build(tiny_data.grounding('a.png', 'A dog.'), pipeline=[broken])
    with pytest.raises(ValueError, match='a bug'):
        dataset[0]
    assert dataset.counters.totals() == {'bad_images': 0, 'boxes': 0}


@pytest.mark.usefixtures('forkserver')
@pytest.mark.parametrize('context', ['fork', 'forkserver'])
def test_workers_replace_and_count_bad_images(build, tiny_data, context):
    names = [f'{i}.jpg' for i in range(8)]
    paths = [tiny_data.image(name) for name in names]
    long = ' '.join(['word'] * 90) + ' dog'
    far = {**DOG, 'tokens_positive': [[len(long) - 3, len(long)]]}
    tiny = {'bbox': [0, 0, 2, 2], 'phrase': 'fly'}
    lines = [tiny_data.grounding(n, long, far, tiny) for n in names]
    paths[3].unlink()
    dataset = build(*lines)
    loader = DataLoader(
        dataset,
        batch_size=2,
        num_workers=2,
        collate_fn=pseudo_collate,
        multiprocessing_context=context,
    )
    batches = list(loader)
    assert len(batches) == 4
    assert all(len(batch['inputs']) == 2 for batch in batches)
    # 7 good images and at least one refetch of the bad one.
    assert dataset.counters.totals()['bad_images'] >= 1
    transforms = dataset.pipeline.transforms
    assert transforms[4].counters.totals() == {'small_boxes': 8}
    cut = {'cut_phrases': 8, 'cut_captions': 8}
    assert transforms[5].counters.totals() == cut


def test_on_real_photos(coco_photos, tmp_path, harmoclip_scope):
    """Grounding lines of real captions: every found word lies on its span."""
    folder = coco_photos / 'annotations'
    instances = json.loads((folder / 'instances_val2017.json').read_text())
    captions = json.loads((folder / 'captions_val2017.json').read_text())
    names = {c['id']: c['name'] for c in instances['categories']}
    images = {image['id']: image for image in instances['images']}
    with open(tmp_path / 'odvg.jsonl', 'w') as file:
        for caption in captions['annotations']:
            image = images[caption['image_id']]
            regions = []
            for ann in instances['annotations']:
                if ann['image_id'] == image['id']:
                    x, y, w, h = ann['bbox']
                    name = names[ann['category_id']]
                    bbox = [x, y, x + w, y + h]
                    regions.append({'bbox': bbox, 'phrase': name})
            line = {
                'filename': image['file_name'],
                'height': image['height'],
                'width': image['width'],
                'grounding': {
                    'caption': caption['caption'],
                    'regions': regions,
                },
            }
            file.write(json.dumps(line) + '\n')
    dataset = RegionPhraseDataset(
        ann_file=str(tmp_path / 'odvg.jsonl'),
        data_root=str(coco_photos),
        data_prefix={'img': 'val2017'},
        caption_choice='all',
        pipeline=PIPELINE,
    )
    assert len(dataset) == 135
    linked = 0
    for index in range(0, len(dataset), 3):
        sample = dataset[index]['data_samples']
        boxes = sample.gt_instances.bboxes.tensor
        assert (boxes >= 0).all() and (boxes <= 32).all()
        assert len(sample.phrases) == len(sample.phrase_masks)
        for each in sample.phrases.values():
            for start, end in each['tokens_positive']:
                assert sample.text[start:end].lower() == each['phrase']
                linked += 1
    assert linked > 10
    assert dataset.counters.totals() == {'bad_images': 0, 'boxes': 0}
