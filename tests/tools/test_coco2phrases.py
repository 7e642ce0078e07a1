"""Tests of the converter from COCO captions to region phrases."""

import importlib.util
import json
import sys
from pathlib import Path

import numpy as np
import pytest

from harmoclip_mm.datasets import RegionPhraseDataset
from harmoclip_mm.errors import DataError

NAME = 'dataset_converters/coco2phrases.py'
TOOL = Path(__file__).parents[2] / 'tools' / NAME


@pytest.fixture(scope='module')
def tool():
    spec = importlib.util.spec_from_file_location('coco2phrases', TOOL)
    module = importlib.util.module_from_spec(spec)
    sys.modules['coco2phrases'] = module
    spec.loader.exec_module(module)
    yield module
    del sys.modules['coco2phrases']


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


def read_lines(path):
    return [json.loads(line) for line in path.read_text('utf-8').splitlines()]


def test_lines_in_order_with_boxes_and_spans(tool, tiny, tmp_path):
    out = tmp_path / 'new/out.jsonl'
    stats = tool.convert(*tiny, out, image_prefix='img/')
    assert read_lines(out) == [
        {
            'filename': 'img/a.jpg',
            'height': 50,
            'width': 60,
            'grounding': {'caption': 'a dog', 'regions': []},
        },
        {
            'filename': 'img/a.jpg',
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
            'filename': 'img/b.jpg',
            'height': 100,
            'width': 200,
            'grounding': {'caption': 'Nothing here', 'regions': []},
        },
        {
            'filename': 'img/b.jpg',
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
    assert (stats.images, stats.captions, stats.captions_linked) == (2, 4, 2)
    # "a dog" of image 3 has no box there.
    assert (stats.spans_linked, stats.spans_unlinked) == (4, 1)
    assert stats.unlinked == {'dog': 1}
    assert stats.phrases == {'man', 'dog', 'cats', 'cat'}
    # Boxes: a person, a dog, a cat linked; of "a man" the smaller one not.
    assert (stats.boxes, stats.boxes_linked) == (5, 3)
    assert (stats.regions, stats.regions_unsure) == (4, 2)
    assert (stats.boxes_crowd, stats.boxes_degenerate) == (1, 2)


def test_every_box_trains_when_unlinked_boxes_are_named(tool, tiny, tmp_path):
    out = tmp_path / 'out.jsonl'
    tool.convert(*tiny, out, name_unlinked_boxes=True)
    dog, cats, nothing, man = (
        [
            (r['phrase'], r['tokens_positive'])
            for r in line['grounding']['regions']
        ]
        for line in read_lines(out)
    )
    assert sorted(dog) == [('cat', []), ('person', [])]
    assert cats[2:] == [('person', [])]
    assert nothing == [('person', []), ('dog', [])]
    assert man == [('man', [[2, 5]]), ('Dog', [[12, 15]]), ('person', [])]
    boxes = [
        box
        for line in read_lines(out)[3:]
        for region in line['grounding']['regions']
        for box in ([region['bbox']], region['bbox'])[
            isinstance(region['bbox'][0], list)
        ]
    ]
    assert len(boxes) == 3  # each once


def test_drop_unlinked_and_the_printed_table(run_tool, tiny, tmp_path, capsys):
    out = tmp_path / 'out.jsonl'
    args = ['--instances', str(tiny[0]), '--captions', str(tiny[1])]
    args += ['--out', str(out), '--show-unlinked', '3']
    run_tool(NAME, *args, '--drop-unlinked')
    assert [x['filename'] for x in read_lines(out)] == ['a.jpg', 'b.jpg']
    printed = capsys.readouterr().out
    for words in (
        ('captions', '4', '2', '2', '50.0'),
        ('boxes (by any caption)', '5', '3', '2', '60.0'),
        ('of these with a score below 1', '2'),
        ('crowd boxes left out', '1'),
        ('boxes left out (outside, < 1 px)', '2'),
        ('lines written', '2'),
    ):
        lines = printed.splitlines()
        row = next(x for x in lines if x.startswith(f'│ {words[0]} '))
        cells = [cell.strip() for cell in row.split('│')[1:-1]]
        assert tuple(cell for cell in cells if cell) == words
    assert '1  dog' in printed
    run_tool(NAME, *args, '--keep-unlinked')
    assert len(read_lines(out)) == 4


def test_no_captions_and_no_boxes(tool, tmp_path):
    paths = make_coco(tmp_path, [], [])
    stats = tool.convert(*paths, tmp_path / 'out.jsonl')
    assert (tmp_path / 'out.jsonl').read_text() == ''
    assert stats.captions == stats.boxes == 0
    assert tool.make_table(stats).row_count == 10


def test_categories_of_ones_own(tool, tmp_path):
    captions = [(1, 7, 'Foxes and a man'), (2, 7, 'a vixen')]
    paths = make_coco(
        tmp_path, captions, [(7, 10, [0, 0, 9, 9], 0)], names=['fox', 'man']
    )
    out = tmp_path / 'out.jsonl'
    tool.convert(*paths, out)
    regions = [line['grounding']['regions'] for line in read_lines(out)]
    assert [r['phrase'] for r in regions[0]] == ['Foxes']
    assert regions[1] == []
    words = tmp_path / 'words.json'
    words.write_text('{"synonyms": {"fox": ["vixen"], "man": []}}')
    tool.convert(*paths, out, words_file=words)
    regions = [line['grounding']['regions'] for line in read_lines(out)]
    assert [r['phrase'] for r in regions[1]] == ['vixen']


@pytest.mark.parametrize(
    ('singular', 'bbox', 'score'),
    [
        ('all', [[10, 20, 40.1, 60.2], [190, 90, 200, 100]], 0.475),
        ('only', None, None),
    ],
)
def test_what_a_singular_is_linked_to(
    run_tool, tiny, tmp_path, singular, bbox, score
):
    out = tmp_path / 'out.jsonl'
    args = ['--instances', str(tiny[0]), '--captions', str(tiny[1])]
    run_tool(NAME, *args, '--out', str(out), '--singular', singular)
    regions = read_lines(out)[3]['grounding']['regions']
    man = [r for r in regions if r['phrase'] == 'man']
    assert [(r['bbox'], r['score']) for r in man] == (
        [(bbox, score)] if bbox else []
    )


def test_a_root_category_takes_no_synonyms_away(tool, tmp_path):
    paths = make_coco(
        tmp_path, [(1, 7, 'a puppy')], [(7, 11, [0, 0, 9, 9], 0)]
    )
    content = json.loads(paths[0].read_text())
    for category in content['categories']:
        category['supercategory'] = 'pets-x2'
    root = {'id': 0, 'name': 'pets-x2', 'supercategory': 'none'}
    content['categories'].insert(0, root)
    paths[0].write_text(json.dumps(content))
    out = tmp_path / 'out.jsonl'
    assert tool.convert(*paths, out).spans_linked == 1
    assert 'pets-x2' not in tool.name_categories(content)
    # one that has boxes is no mere root
    content['annotations'][0]['category_id'] = 0
    assert 'pets-x2' in tool.name_categories(content)


def test_captions_without_spaces(tool, tmp_path):
    captions = [(1, 7, '一只狗'), (2, 3, '一只猫在桌子上'), (3, 3, 'a cat')]
    boxes = [(7, 11, [0, 0, 9, 9], 0), (3, 12, [0, 0, 9, 9], 0)]
    paths = make_coco(tmp_path, captions, boxes, names=['人', '狗', '椅子'])
    out = tmp_path / 'out.jsonl'
    stats = tool.convert(*paths, out)
    assert [line['grounding']['regions'] for line in read_lines(out)] == [
        [],
        [],
        [{'bbox': [0, 0, 9, 9], 'phrase': '狗', 'tokens_positive': [[2, 3]]}],
    ]
    assert stats.captions_unspaced == 1
    labels = tool.make_table(stats).columns[0].cells
    assert any('without spaces' in label for label in labels)


def test_nothing_half_written_is_left(tool, tiny, tmp_path, monkeypatch):
    out = tmp_path / 'out.jsonl'
    out.write_text('older')
    monkeypatch.setattr(tool, 'link_caption', lambda *_: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        tool.convert(*tiny, out)
    assert out.read_text() == 'older'
    assert not list(tmp_path.glob('*.part'))


def test_bad_input_is_named(run_tool, tiny, tmp_path):
    instances, captions = tiny
    out = tmp_path / 'out.jsonl'

    def fails(instances, captions, *more):
        args = ['--instances', str(instances), '--captions', str(captions)]
        with pytest.raises(DataError) as error:
            run_tool(NAME, *args, '--out', str(out), *more)
        assert not out.exists()
        return str(error.value)

    missing = tmp_path / 'missing.json'
    assert 'missing.json cannot be read (No' in fails(missing, captions)
    assert 'missing.json' in fails(
        instances, captions, '--words', str(missing)
    )
    broken = tmp_path / 'broken.json'
    broken.write_text('{"images": [')
    assert 'broken.json is not valid JSON' in fails(broken, captions)
    # The two files swapped.
    message = fails(captions, instances)
    assert (
        "captions.json is not in COCO format: it has no list 'categories'"
        in message
    )
    content = json.loads(instances.read_text())
    content['categories'] = []
    broken.write_text(json.dumps(content))
    assert '"categories" is empty' in fails(broken, captions)
    content = json.loads(instances.read_text())
    content['annotations'][4]['category_id'] = 99
    broken.write_text(json.dumps(content))
    assert 'category_id 99 of annotation 4' in fails(broken, captions)
    content = json.loads(instances.read_text())
    content['annotations'][4]['bbox'] = [1, 2, 3]
    broken.write_text(json.dumps(content))
    assert "(id 4): 'bbox' must be four numbers" in fails(broken, captions)
    content = json.loads(instances.read_text())
    del content['images'][1]['height']
    broken.write_text(json.dumps(content))
    assert "(id 3): 'height' is missing" in fails(broken, captions)
    content = json.loads(instances.read_text())
    content['images'].append(dict(content['images'][0], file_name='c.jpg'))
    broken.write_text(json.dumps(content))
    assert 'both have id 7' in fails(broken, captions)
    content = json.loads(captions.read_text())
    content['annotations'][1]['caption'] = None
    broken.write_text(json.dumps(content))
    assert "(id 4): 'caption' must be a text" in fails(instances, broken)
    content = json.loads(captions.read_text())
    content['annotations'][1]['image_id'] = 8
    broken.write_text(json.dumps(content))
    message = fails(instances, broken)
    assert 'caption 4 is of image 8' in message
    assert 'same split' in message


@pytest.mark.parametrize('split', ['train', 'val'])
def test_real_photos_through_mmdet(tool, coco_photos, tmp_path, split):
    odvg = pytest.importorskip('mmdet.datasets.odvg')
    coco_api = pytest.importorskip('pycocotools.coco')
    folder = coco_photos / 'annotations'
    paths = [
        folder / f'{kind}_{split}2017.json'
        for kind in ('instances', 'captions')
    ]
    out = tmp_path / 'odvg.jsonl'
    stats = tool.convert(*paths, out, image_prefix=f'{split}2017/')
    again = tmp_path / 'again.jsonl'
    tool.convert(*paths, again, image_prefix=f'{split}2017/')
    assert out.read_bytes() == again.read_bytes()

    dataset = odvg.ODVGDataset(
        data_root=str(coco_photos),
        ann_file=str(out),
        data_prefix={'img': ''},
        pipeline=[],
        return_classes=True,
        filter_cfg={'filter_empty_gt': False},
        test_mode=True,
    )
    assert len(dataset) == stats.lines == stats.captions
    ours = RegionPhraseDataset(
        data_root=str(coco_photos),
        ann_file=str(out),
        caption_choice='all',
    )
    with_boxes = 0
    for index, line in enumerate(read_lines(out)):
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
    assert with_boxes == stats.captions_linked
    # Most captions name something that is annotated.
    assert stats.captions_linked >= 0.85 * stats.captions
    assert stats.spans_linked >= 0.9 * (
        stats.spans_linked + stats.spans_unlinked
    )
    annotations = coco_api.COCO(str(paths[0])).dataset['annotations']
    crowd = sum(item['iscrowd'] for item in annotations)
    assert stats.boxes_crowd == crowd
    assert stats.boxes + stats.boxes_degenerate == len(annotations) - crowd
