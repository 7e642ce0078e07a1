"""Whatever stands in a field of an input file: the right figure or a sentence.

Every field of every file that the README names is left out, made null, of
another type, negative or huge; records are doubled and put in another order.
The reader either answers what it answers for the whole file, or legally less
or other (a box that is dropped, another caption), or raises one sentence that
names the file and the record.
"""

import copy
import json
import logging
import random
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from mmdet.datasets import CocoDataset, CocoPanopticDataset
from odvg_formats import writing
from PIL import Image
from to_odvg import parse_args

from harmoclip_mm.datasets import (
    FGOVDDataset,
    ImageTextRetrievalDataset,
    RegionPhraseDataset,
    check_annotations,
)
from harmoclip_mm.datasets.transforms import LoadCandidateBoxes, LoadCaptions
from harmoclip_mm.datasets.transforms.annotations import captions_by_id
from harmoclip_mm.errors import UsageError
from harmoclip_mm.text import PhraseFinder, load_vocabulary

SIZE = dict(height=48, width=64)
NAMES = 'a.jpg', 'b.jpg'
IMAGES = [
    {'id': 7 + i, 'file_name': name, **SIZE} for i, name in enumerate(NAMES)
]
CATEGORIES = [{'id': 5, 'name': 'lynx'}, {'id': 3, 'name': 'fox'}]
CAPTIONS = {
    'images': IMAGES,
    'annotations': [
        {'id': 11, 'image_id': 7, 'caption': 'A lynx and a fox.'},
        {'id': 12, 'image_id': 8, 'caption': 'Two foxes'},
        {'id': 14, 'image_id': 7, 'caption': 'a lynx'},
    ],
}
BOXES = {
    'images': IMAGES,
    'categories': CATEGORIES,
    'annotations': [
        {
            'id': 21 + i,
            'image_id': image,
            'category_id': category,
            'bbox': [4.0, 5, 20, 30],
            'area': 600,
            'iscrowd': 0,
        }
        for i, (image, category) in enumerate([(7, 5), (8, 3), (7, 3)])
    ],
}
PANOPTIC = {
    'images': IMAGES[:1],
    'categories': [
        {'id': 1, 'name': 'lynx', 'isthing': 1},
        {'id': 2, 'name': 'sky', 'isthing': 0},
    ],
    'annotations': [
        {
            'image_id': 7,
            'segments_info': [
                {
                    'id': 3 + i,
                    'category_id': 1 + i,
                    'area': 600,
                    'bbox': [4, 5, 20, 30],
                    'iscrowd': 0,
                }
                for i in range(2)
            ],
        }
    ],
}
KARPATHY = {
    'images': [
        {
            'split': 'test',
            'filename': name,
            'imgid': i,
            'sentences': [
                {'raw': 'a lynx', 'sentid': 2 * i},
                {'raw': 'a fox', 'sentid': 2 * i + 1},
            ],
        }
        for i, name in enumerate(NAMES)
    ]
}
ODVG = [
    {
        'filename': name,
        **SIZE,
        'grounding': {
            'caption': 'a lynx and a fox',
            'regions': [
                {
                    'bbox': [4, 5, 24, 35],
                    'phrase': 'lynx',
                    'tokens_positive': [[2, 6]],
                },
                {'bbox': [[1, 2, 9, 9], [0, 0, 8, 8]], 'phrase': 'fox'},
            ],
        },
    }
    for name in NAMES
]
FGCLIP = [
    {
        'img_path': name,
        'image_id': 7 + i,
        'bbox': [4.0, 5, 20, 30],
        'pos_expression': ['a red cup'],
        'neg_expression': ['a blue cup', 'a green cup'],
        'test_type': '1_attributes',
        **SIZE,
    }
    for i, name in enumerate(NAMES)
]
FGOVD = {
    'images': IMAGES,
    'categories': [
        {'id': i, 'name': f'a {color} cup'}
        for i, color in enumerate(('red', 'blue', 'green'))
    ],
    'annotations': [
        {
            'id': 31 + i,
            'image_id': image,
            'bbox': [4.0, 5, 20, 30],
            'category_id': 1,
            'neg_category_ids': [0, 2],
        }
        for i, image in enumerate((7, 8))
    ],
}
PROPOSALS = [
    {'image_id': i, 'bbox': [4.0, 5, 20, 30], 'score': 0.5} for i in (1, 2)
]
DOCCI = [
    {
        'example_id': name,
        'image_file': name,
        'description': f'About {name}',
        'split': 'test',
    }
    for name in NAMES
]
REGIONS = [
    {
        'image_id': 1,
        'regions': [
            {'phrase': 'a cup', 'x': 1, 'y': 2, 'width': 10, 'height': 12}
        ],
    }
]
IMAGE_DATA = [
    {'image_id': 1, 'url': 'http://x/VG_100K/a.jpg', 'width': 64, 'height': 48}
]
FINEHARD = [
    {
        'f_path': 'a.jpg',
        'caption': 'a lynx in the snow',
        'short_caption': 'a lynx',
        'bbox_info': [
            {
                'bbox': [0.1, 0.1, 0.5, 0.5, 0.9],
                'short_expr': 'lynx',
                'long_expr': 'a grey lynx',
                'short_expr_negs': {'0': 'fox'},
            }
        ],
    }
]
FINECLIP = {'a.jpg_1_2_30_20': 'a cup', 'a.jpg_4_5_30_20': 'a dog'}
CLASSES = {
    'classes': ['lynx', 'fox'],
    'groups': {'pet': ['lynx']},
    'prompts': ['house lynx', 'big fox'],
}
WORDS = {
    'synonyms': {'lynx': ['kitten'], 'fox': []},
    'irregular_plurals': {'fox': ['foxes']},
    'other_meanings': ['hot fox'],
    'contexts': {'kitten': ['hot']},
    'groups': ['kitten'],
    'living': ['fox'],
}

WRONG = [
    *(None, True, -1, 0, 10**30, 1.5, float('nan'), '', 'x', [], [None], {}),
    *({'a': 1}, [-5, -5, -5, -5], [0, 0, 10**30, 10**30], [[1, 2]]),
]


def places_of(value, path=()):
    """Every place in a file, as the keys that lead there; of more than two
    records of a list those of the first and the last."""
    if path:
        yield path
    pairs = value.items() if isinstance(value, dict) else ()
    if isinstance(value, list):
        pairs = list(enumerate(value))
        if all(isinstance(each, dict) for each in value):
            pairs[1:-1] = ()
    for key, inner in pairs:
        yield from places_of(inner, (*path, key))


def content_at(content, place):
    """What stands at a place."""
    for key in place:
        content = content[key]
    return content if isinstance(content, dict) else ()


def changes_of(content):
    """What is done, where, and the content of the file then."""
    for wrong in (None, 3, 'x', [], {}, [None], [[]]):
        yield wrong, (), wrong
    for place in places_of(content):
        for wrong in (*WRONG, 'missing', 'twice', 'reversed'):
            changed = copy.deepcopy(content)
            inner = changed
            for key in place[:-1]:
                inner = inner[key]
            key = place[-1]
            if wrong == 'missing':
                del inner[key]
            elif wrong == 'twice':
                if not isinstance(inner, list):
                    continue
                inner.append(copy.deepcopy(inner[key]))
            elif wrong == 'reversed' and not isinstance(inner[key], list):
                continue
            elif wrong == 'reversed':
                if not any(isinstance(each, dict) for each in inner[key]):
                    continue
                inner[key].reverse()
            else:
                inner[key] = wrong
            yield wrong, place, changed


def samples_of(dataset):
    return [dataset.get_data_info(i) for i in range(len(dataset))]


def check_sample(info):
    """What the transforms behind a data set rely on."""
    assert isinstance(info['img_path'], str)
    for key in ('height', 'width'):
        assert 0 < info.get(key, 1) < 2**31
    assert isinstance(info.get('text', ''), (str, tuple))
    for caption in info.get('captions', ()):
        assert isinstance(caption, str)
    phrases = info.get('phrases')
    for instance in info['instances']:
        box = np.array(instance['bbox'], dtype=float)
        assert box.shape == (4,) and np.isfinite(box).all()
        assert (box[2:] > box[:2]).all()
        # none that memory or RoIAlign has no place for
        assert (abs(box) < 4 * info.get('width', 64)).all()
        if phrases is not None:
            assert phrases[instance['bbox_label']]['phrase']
            for each in instance.get('candidates', ()):
                assert phrases[each]['phrase'].strip()


def figure_of(samples):
    """What a figure depends on, whatever the order of the file."""
    found = Counter()
    for info in samples:
        check_sample(info)
        name = Path(info['img_path']).name
        found.update((name, each) for each in info.get('captions', ()))
        for instance in info['instances']:
            label = instance['bbox_label']
            if 'phrases' in info:
                label = info['phrases'][label]['phrase']
            found[name, tuple(instance['bbox']), label] += 1
    return found


def read_coco_test(path):
    dataset = dict(
        type='mmdet.CocoDataset',
        ann_file=str(path),
        metainfo=dict(classes=('lynx', 'fox')),
        test_mode=True,
        return_classes=True,
        data_prefix=dict(img=''),
        serialize_data=False,
    )
    check_annotations(dataset)
    dataset.pop('type')
    return figure_of(samples_of(CocoDataset(pipeline=[], **dataset)))


def read_panoptic_test(path):
    dataset = dict(
        type='mmdet.CocoPanopticDataset',
        ann_file=str(path),
        metainfo=dict(
            classes=('lynx', 'sky'),
            thing_classes=('lynx',),
            stuff_classes=('sky',),
        ),
        test_mode=True,
        data_prefix=dict(img='', seg=''),
        serialize_data=False,
    )
    check_annotations(dataset)
    dataset.pop('type')
    return figure_of(samples_of(CocoPanopticDataset(pipeline=[], **dataset)))


def read_converter(words, others=()):
    """Convert a file, beside which others stand; words of a command line."""

    def read(path):
        for name, content in dict(others).items():
            path.with_name(name).write_text(json.dumps(content))
        Image.new('RGB', (64, 48)).save(path.with_name('a.jpg'))
        out = path.with_name('out.jsonl')
        out.unlink(missing_ok=True)
        args = parse_args(
            f'{words} --out {out}'.replace('HERE', str(path.parent)).split()
        )
        module = vars(args).pop('module')
        try:
            writing.convert(module, args)
        except UsageError:
            assert not out.exists()
            raise
        return read_odvg(out)

    return read


def read_odvg(path):
    dataset = RegionPhraseDataset(
        ann_file=str(path), caption_choice='all', pipeline=[]
    )
    samples = samples_of(dataset)
    for info in samples:
        for phrase in info['phrases'].values():
            for start, end in phrase['tokens_positive']:
                assert 0 <= start < end <= len(info['text'])
        info['captions'] = [info['text']]
    return figure_of(samples)


def read_retrieval(path):
    dataset = ImageTextRetrievalDataset(
        ann_file=str(path), pipeline=[], serialize_data=False
    )
    return figure_of(samples_of(dataset))


def read_captions(path):
    captions_by_id.cache_clear()
    load = LoadCaptions(str(path))
    return Counter(
        (i, caption)
        for i in (7, 8)
        for caption in load({'img_id': i})['captions']
    )


def read_fgovd(path):
    dataset = FGOVDDataset(
        ann_file=str(path),
        sets=('hard',),
        num_negatives=2,
        pipeline=[],
        serialize_data=False,
    )
    return figure_of(samples_of(dataset))


def read_candidates(*names):
    def read(path):
        load, found = LoadCandidateBoxes(str(path)), Counter()
        for name in names:
            results = load({'img_path': name})
            assert np.isfinite(results['proposals']).all()
            assert np.isfinite(results['proposals_scores']).all()
            assert abs(results['proposals']).max() < 256
            for box in results['proposals'].tolist():
                found[name, tuple(box)] += 1
        return found

    return read


def read_classes(path):
    vocabulary = load_vocabulary(path)
    for name in (*vocabulary.classes, *vocabulary.prompts):
        assert isinstance(name, str) and name.strip()
    assert len(set(vocabulary.classes)) == len(vocabulary.prompts)
    return Counter(zip(vocabulary.classes, vocabulary.prompts))


def read_words(path):
    finder = PhraseFinder.from_file(path)
    found = finder.find('a kitten and foxes and a hot fox on a lynx')
    for mention in found:
        assert all(isinstance(each, str) for each in mention.categories)
    return Counter(mention.categories for mention in found)


LINK = 'coco-captions HERE/boxes.json --captions HERE/texts.json'

# name of the file, what stands in it, what reads it, and the lists whose
# order means nothing
FILES = {
    'odvg': ('lines.jsonl', ODVG, read_odvg),
    'fg-clip': ('1_attributes.jsonl', FGCLIP, read_fgovd),
    'fg-ovd': ('1_attributes.json', FGOVD, read_fgovd),
    'instances tested': ('boxes.json', BOXES, read_coco_test),
    'panoptic': ('panoptic.json', PANOPTIC, read_panoptic_test),
    'instances converted': (
        'boxes.json',
        BOXES,
        read_converter(LINK, {'texts.json': CAPTIONS}),
    ),
    'captions converted': (
        'texts.json',
        CAPTIONS,
        read_converter(LINK, {'boxes.json': BOXES}),
    ),
    'regions converted': (
        'region_descriptions.json',
        REGIONS,
        read_converter('visual-genome HERE', {'image_data.json': IMAGE_DATA}),
    ),
    'images converted': (
        'image_data.json',
        IMAGE_DATA,
        read_converter(
            'visual-genome HERE', {'region_descriptions.json': REGIONS}
        ),
    ),
    'finehard converted': (
        'fh.json',
        FINEHARD,
        read_converter('finehard HERE/fh.json --images HERE'),
    ),
    'fineclip converted': (
        'fc.json',
        FINECLIP,
        read_converter('fineclip HERE/fc.json --images HERE'),
    ),
    'docci': ('docci.jsonlines', DOCCI, read_retrieval),
    'captions of retrieval': ('texts.json', CAPTIONS, read_retrieval),
    'captions of a transform': ('texts.json', CAPTIONS, read_captions),
    'karpathy': ('karpathy.json', KARPATHY, read_retrieval),
    'candidates': ('boxes.json', BOXES, read_candidates(*NAMES)),
    'proposals': ('p.json', PROPOSALS, read_candidates('1.jpg', '2.jpg')),
    'classes': ('mine.json', CLASSES, read_classes),
    'words': ('words.json', WORDS, read_words),
}


def write(path, content):
    if path.suffix.startswith('.jsonl') and isinstance(content, list):
        lines = [json.dumps(each) + '\n' for each in content]
        path.write_text(''.join(lines))
    else:
        path.write_text(json.dumps(content))


@pytest.fixture
def quiet():
    """Thousands of data sets are built, each of which logs."""
    logging.disable(logging.CRITICAL)
    yield
    logging.disable(logging.NOTSET)


@pytest.mark.parametrize(
    'name',
    [
        # a converter runs for each of a thousand files
        pytest.param(name, marks=[pytest.mark.slow] * ('converted' in name))
        for name in FILES
    ],
)
def test_every_field_is_read_or_named(name, tmp_path, monkeypatch, quiet):
    file, content, read = FILES[name]
    path = tmp_path / file
    monkeypatch.setenv('XDG_CACHE_HOME', str(tmp_path))
    write(path, content)
    whole = read(path)
    assert whole
    faults, count = [], 0
    for wrong, place, changed in changes_of(content):
        write(path, changed)
        count += 1
        try:
            figure = read(path)
        except UsageError as error:
            text = str(error)
            where = file
            if path.suffix.startswith('.jsonl') and len(place) > 1:
                where = f'{file}:{place[0] + 1}'
            names = where in text or f'{path.parent} gives no' in text
            if '\n' in text or not names:
                faults.append((wrong, place, text))
        except Exception as error:
            faults.append((wrong, place, repr(error)))
        else:
            again = wrong == 'twice' and 'id' in content_at(content, place)
            if (wrong == 'reversed' or again) and figure != whole:
                faults.append((wrong, place, figure))
    assert count > 30
    shown = random.Random(0).sample(faults, min(9, len(faults)))
    assert not faults, f'{len(faults)} of {count}, such as {shown}'
