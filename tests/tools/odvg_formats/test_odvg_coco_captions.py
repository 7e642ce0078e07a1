import json
from pathlib import Path

import numpy as np
import pytest
from odvg_formats import coco_captions
from odvg_formats.coco import CocoFile
from odvg_formats.lines import Tally

from harmoclip_mm.datasets import RegionPhraseDataset
from harmoclip_mm.errors import DataError

SPANS = 'spans without a box'
UNNAMED = 'boxes that no caption names'


@pytest.fixture
def link(convert):
    """Lines and tally of a pair of files and options."""

    def run(paths, *words):
        instances, captions = paths
        return convert(
            'coco-captions', instances, '--captions', captions, *words
        )

    return run


def make_coco(folder, captions, annotations, names=('person', 'dog', 'cat')):
    """Write a tiny COCO set of two images and return its paths."""
    images = [
        {'id': 7, 'file_name': 'b.jpg', 'height': 100, 'width': 200},
        {'id': 3, 'file_name': 'a.jpg', 'height': 50, 'width': 60},
    ]
    instances = {
        'images': images,
        'categories': [
            {'id': 10 + i, 'name': name} for i, name in enumerate(names)
        ],
        'annotations': [
            {
                'id': i,
                'image_id': image,
                'category_id': category,
                'bbox': box,
                'area': box[2] * box[3],
                'iscrowd': crowd,
            }
            for i, (image, category, box, crowd) in enumerate(annotations)
        ],
    }
    texts = [
        {'id': i, 'image_id': image, 'caption': text}
        for i, image, text in captions
    ]
    paths = folder / 'instances.json', folder / 'captions.json'
    paths[0].write_text(json.dumps(instances))
    paths[1].write_text(json.dumps({'images': images, 'annotations': texts}))
    return paths


@pytest.fixture
def tiny(tmp_path):
    captions = [
        (5, 7, ' A man and a Dog.\n'),
        (4, 7, 'Nothing here'),
        (9, 3, 'Two cats, one cat: été'),
        (2, 3, 'a dog'),
    ]
    annotations = [
        (7, 10, [10, 20, 30.1, 40.2], 0),
        (7, 10, [190, 90, 50, 50], 0),  # reaches over the border
        (7, 10, [0, 0, 200, 100], 1),  # a crowd
        (7, 11, [5, 5, 0.5, 40], 0),  # under a pixel wide
        (7, 11, [1, 2, 3, 4], 0),
        (7, 11, [300, 2, 3, 4], 0),  # outside
        (3, 12, [0, 0, 10, 10], 0),
        (3, 10, [0, 0, 5, 5], 0),
    ]
    return make_coco(tmp_path, captions, annotations)


def regions_of(lines):
    return [line['grounding']['regions'] for line in lines]


@pytest.mark.parametrize('name, number', [('a', 1), ('b', 2)])
def test_lines_without_their_image_count_as_not_written(
    link, tiny, image, tmp_path, name, number
):
    image(f'images/{name}.jpg', 9, 9)
    lines, tally = link(tiny, '--images', tmp_path / 'images')
    boxes = {tuple(r['bbox']) for found in regions_of(lines) for r in found}
    assert tally.written['images'] == 1
    assert tally.written['lines'] == len(lines) == 2
    assert tally.written['regions linked to the caption'] == 2
    assert tally.written['boxes'] == len(boxes) == number


def test_lines_in_order_with_boxes_and_spans(link, tiny):
    lines, tally = link(tiny)
    assert lines == [
        {
            'filename': 'a.jpg',
            'height': 50,
            'width': 60,
            'grounding': {'caption': 'a dog', 'regions': []},
        },
        {
            'filename': 'a.jpg',
            'height': 50,
            'width': 60,
            'grounding': {
                'caption': 'Two cats, one cat: été',
                'regions': [
                    {
                        'bbox': [0, 0, 10, 10],
                        'phrase': 'cats',
                        'tokens_positive': [[4, 8]],
                        'score': 0.8,
                    },
                    {
                        'bbox': [0, 0, 10, 10],
                        'phrase': 'cat',
                        'tokens_positive': [[14, 17]],
                    },
                ],
            },
        },
        {
            'filename': 'b.jpg',
            'height': 100,
            'width': 200,
            'grounding': {'caption': 'Nothing here', 'regions': []},
        },
        {
            'filename': 'b.jpg',
            'height': 100,
            'width': 200,
            'grounding': {
                'caption': 'A man and a Dog.',
                'regions': [
                    {
                        'bbox': [10, 20, 40.1, 60.2],
                        'phrase': 'man',
                        'tokens_positive': [[2, 5]],
                        'score': 0.902,
                    },
                    {
                        'bbox': [1, 2, 4, 6],
                        'phrase': 'Dog',
                        'tokens_positive': [[12, 15]],
                    },
                ],
            },
        },
    ]
    # "a dog" of image 3 has no box there; of "a man" the smaller box is not
    # meant, and nobody names the person of image 3.
    assert tally.read == {'boxes': 8, 'captions': 4}
    assert tally.written == {
        'images': 2,
        'lines': 4,
        'lines with linked spans': 2,
        'spans linked to boxes': 4,
        'distinct phrases': 4,
        'regions linked to the caption': 4,
        'regions with a text of their own': 0,
        'regions with a score below 1': 2,
        'boxes': 3,
        'boxes linked to a caption': 3,
        'boxes clipped': 1,
    }
    assert tally.dropped == {
        SPANS: 1,
        UNNAMED: 2,
        'boxes of crowds or to be ignored': 1,
        'boxes outside of the image or below 1 px': 2,
    }
    assert tally.first[SPANS].endswith('captions.json: caption 2')
    assert tally.first[UNNAMED].endswith('instances.json: image 3')


def test_every_box_trains_when_unlinked_boxes_are_named(link, tiny):
    lines, tally = link(tiny, '--name-unlinked-boxes')
    assert tally.written['boxes'] == 5 and UNNAMED not in tally.dropped
    assert tally.written['boxes linked to a caption'] == 3
    dog, cats, nothing, man = (
        [(r['phrase'], r['tokens_positive']) for r in regions]
        for regions in regions_of(lines)
    )
    assert sorted(dog) == [('cat', []), ('person', [])]
    assert cats[2:] == [('person', [])]
    assert nothing == [('person', []), ('dog', [])]
    assert man == [('man', [[2, 5]]), ('Dog', [[12, 15]]), ('person', [])]
    boxes = [
        box
        for region in regions_of(lines)[3]
        for box in ([region['bbox']], region['bbox'])[
            isinstance(region['bbox'][0], list)
        ]
    ]
    assert len(boxes) == 3  # each once


def test_categories_that_are_named_are_words(link, tmp_path):
    names = ('person', 'bow_(weapon)', 'Cabinet/shelf')
    boxes = [(3, 11, [0, 0, 9, 9], 0), (3, 12, [0, 0, 9, 9], 0)]
    paths = make_coco(tmp_path, [(1, 3, 'a dog')], boxes, names)
    lines, _ = link(paths, '--name-unlinked-boxes')
    named = [region['phrase'] for region in regions_of(lines)[0]]
    assert named == ['bow (weapon)', 'cabinet or shelf']


def test_boxes_of_images_without_captions_are_not_written(link, tmp_path):
    boxes = [(3, 11, [0, 0, 9, 9], 0), (7, 12, [0, 0, 9, 9], 0)]
    paths = make_coco(tmp_path, [(1, 3, 'a dog')], boxes)
    lines, tally = link(paths, '--name-unlinked-boxes')
    assert len(lines) == tally.written['boxes'] == tally.dropped[UNNAMED] == 1


def test_no_captions_and_no_boxes(link, tmp_path):
    with pytest.raises(DataError, match=r'captions\.json has no captions'):
        link(make_coco(tmp_path, [], []))
    lines, _ = link(make_coco(tmp_path, [(1, 7, 'a dog')], []))
    assert regions_of(lines) == [[]]
    for crowd, why in enumerate((UNNAMED, 'boxes of crowds or to be ignored')):
        paths = make_coco(
            tmp_path, [(1, 7, 'a dog')], [(7, 12, [0, 0, 9, 9], crowd)]
        )
        with pytest.raises(DataError, match=f'none of its 1 boxes.*{why}: 1'):
            link(paths)


def test_categories_of_ones_own(link, tmp_path):
    captions = [(1, 7, 'Foxes and a man'), (2, 7, 'a vixen')]
    paths = make_coco(
        tmp_path, captions, [(7, 10, [0, 0, 9, 9], 0)], names=['fox', 'man']
    )
    regions = regions_of(link(paths)[0])
    assert [r['phrase'] for r in regions[0]] == ['Foxes']
    assert regions[1] == []
    words = tmp_path / 'words.json'
    words.write_text('{"synonyms": {"fox": ["vixen"], "man": []}}')
    regions = regions_of(link(paths, '--words', words)[0])
    assert [r['phrase'] for r in regions[1]] == ['vixen']


@pytest.mark.parametrize(
    ('singular', 'bbox', 'score'),
    [
        ('all', [[10, 20, 40.1, 60.2], [190, 90, 200, 100]], 0.475),
        ('only', None, None),
    ],
)
def test_what_a_singular_is_linked_to(link, tiny, singular, bbox, score):
    regions = regions_of(link(tiny, '--singular', singular)[0])[3]
    man = [r for r in regions if r['phrase'] == 'man']
    assert [(r['bbox'], r['score']) for r in man] == (
        [(bbox, score)] if bbox else []
    )


def test_a_root_category_takes_no_synonyms_away(tmp_path, link):
    paths = make_coco(
        tmp_path, [(1, 7, 'a puppy')], [(7, 11, [0, 0, 9, 9], 0)]
    )
    content = json.loads(paths[0].read_text())
    for category in content['categories']:
        category['supercategory'] = 'pets-x2'
    root = {'id': 0, 'name': 'pets-x2', 'supercategory': 'none'}
    content['categories'].insert(0, root)
    paths[0].write_text(json.dumps(content))
    _, tally = link(paths)
    assert tally.written['spans linked to boxes'] == 1

    def names():
        return coco_captions.name_categories(CocoFile(paths[0], Tally()))

    assert names() == ['person', 'dog', 'cat']
    # one that has boxes is no mere root
    content['annotations'][0]['category_id'] = 0
    paths[0].write_text(json.dumps(content))
    assert 'pets-x2' in names()


def test_captions_without_spaces(link, tmp_path):
    captions = [(1, 7, '一只狗'), (2, 3, '一只猫在桌子上'), (3, 3, 'a cat')]
    boxes = [(7, 11, [0, 0, 9, 9], 0), (3, 12, [0, 0, 9, 9], 0)]
    paths = make_coco(tmp_path, captions, boxes, names=['人', '狗', '椅子'])
    lines, tally = link(paths)
    assert regions_of(lines) == [
        [],
        [],
        [{'bbox': [0, 0, 9, 9], 'phrase': '狗', 'tokens_positive': [[2, 3]]}],
    ]
    why = 'captions without spaces that name no category'
    assert tally.read[why] == 1


def test_nothing_half_written_is_left(link, tiny, tmp_path, monkeypatch):
    out = tmp_path / 'out' / 'lines.jsonl'
    out.parent.mkdir()
    out.write_text('older')
    monkeypatch.setattr(coco_captions, 'link_caption', lambda *_: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        link(tiny)
    assert out.read_text() == 'older'
    assert [path.name for path in out.parent.iterdir()] == [out.name]


def test_bad_input_is_named(link, tiny, tmp_path):
    instances, captions = tiny
    broken = tmp_path / 'broken.json'

    def fails(*paths, words=()):
        with pytest.raises(DataError) as error:
            link(paths, *words)
        assert not list(tmp_path.glob('out/*'))
        return str(error.value)

    def change(source, key, index, **values):
        content = json.loads(source.read_text())
        content[key][index].update(values)
        broken.write_text(json.dumps(content))

    missing = tmp_path / 'missing.json'
    assert 'missing.json is missing' in fails(missing, captions)
    assert 'missing.json is missing' in fails(instances, missing)
    assert 'missing.json is missing' in fails(
        instances, captions, words=('--words', missing)
    )
    broken.write_text('{"images": [')
    assert 'broken.json:1: not valid JSON' in fails(broken, captions)
    assert 'broken.json' in fails(
        instances, captions, words=('--words', broken)
    )
    # The two files swapped.
    message = fails(captions, instances)
    assert "captions.json: an element of annotations (id 5): 'cat" in message
    message = fails(instances, instances)
    assert "annotations (id 0): 'caption' is missing" in message
    change(captions, 'annotations', 1, caption=None)
    assert "(id 4): 'caption' must be a text" in fails(instances, broken)
    change(captions, 'annotations', 1, image_id=8)
    message = fails(instances, broken)
    assert 'caption 4 is of image 8' in message
    assert 'same split' in message
    words = tmp_path / 'words.json'
    words.write_text('{"synonyms": {}}')
    message = fails(instances, captions, words=('--words', words))
    assert 'words.json has the unknown keys []' in message


@pytest.mark.parametrize('split', ['train', 'val'])
def test_real_photos_through_mmdet(link, coco_photos, tmp_path, split):
    odvg = pytest.importorskip('mmdet.datasets.odvg')
    coco_api = pytest.importorskip('pycocotools.coco')
    folder = coco_photos / 'annotations'
    paths = [
        folder / f'{kind}_{split}2017.json'
        for kind in ('instances', 'captions')
    ]
    lines, tally = link(paths)
    out = tmp_path / 'out' / 'lines.jsonl'
    written = tally.written
    first = out.read_bytes()
    link(paths)
    assert out.read_bytes() == first

    dataset = odvg.ODVGDataset(
        data_root=str(coco_photos),
        ann_file=str(out),
        data_prefix={'img': f'{split}2017/'},
        pipeline=[],
        return_classes=True,
        filter_cfg={'filter_empty_gt': False},
        test_mode=True,
    )
    assert len(dataset) == written['lines'] == tally.read['captions']
    ours = RegionPhraseDataset(
        data_root=str(coco_photos),
        ann_file=str(out),
        data_prefix={'img': f'{split}2017/'},
        caption_choice='all',
    )
    with_boxes = 0
    for index, line in enumerate(lines):
        info = dataset.get_data_info(index)
        regions = line['grounding']['regions']
        assert Path(info['img_path']).is_file()
        assert info['text'] == line['grounding']['caption'].strip()
        # mmdet drops no box and keeps every phrase.
        boxes = [
            box
            for region in regions
            for box in (
                region['bbox']
                if isinstance(region['bbox'][0], list)
                else [region['bbox']]
            )
        ]
        assert [x['bbox'] for x in info['instances']] == boxes
        assert list(info['phrases']) == list(range(len(regions)))
        own = ours.get_data_info(index)
        for key in ('img_path', 'height', 'width', 'text', 'phrases'):
            assert own[key] == info[key], key
        assert own['instances'] == info['instances']
        scores = [
            region.get('score', 1)
            for region in regions
            for _ in ([0], region['bbox'])[isinstance(region['bbox'][0], list)]
        ]
        given = own.get('gt_scores', np.ones(len(scores)))
        assert given.tolist() == pytest.approx(scores)
        for region in regions:
            start, end = region['tokens_positive'][0]
            assert info['text'][start:end] == region['phrase']
        with_boxes += bool(boxes)
    assert with_boxes == written['lines with linked spans']
    # Most captions name something that is annotated.
    assert with_boxes >= 0.85 * written['lines']
    spans = written['spans linked to boxes']
    assert spans >= 0.9 * (spans + tally.dropped[SPANS])
    annotations = coco_api.COCO(str(paths[0])).dataset['annotations']
    crowd = sum(item['iscrowd'] for item in annotations)
    assert tally.dropped['boxes of crowds or to be ignored'] == crowd
