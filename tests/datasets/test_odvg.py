import json
from collections import Counter

import pytest

from harmoclip_mm.datasets.odvg import parse_odvg_line
from harmoclip_mm.errors import DataError
from harmoclip_mm.text import phrases_of

CAPTION = 'A dog runs after a bigger dog.'
IMAGE = {'filename': 'a.jpg', 'height': 50, 'width': 100}


def parse_record(record, tally=None):
    line = json.dumps(record).encode()
    return parse_odvg_line(line, 'x.jsonl:3', tally or Counter())


def record_of(*regions, caption=CAPTION, **extra):
    grounding = {'caption': caption, 'regions': list(regions)}
    return {**IMAGE, 'grounding': grounding, **extra}


def parse(*regions, **extra):
    tally = Counter(clipped=0)
    return parse_record(record_of(*regions, **extra), tally), tally


def spans_of(text):
    return [each['tokens_positive'] for each in text['phrases'].values()]


def region(phrase='dog', box=(0, 0, 10, 10), **extra):
    return {'bbox': list(box), 'phrase': phrase, **extra}


def test_regions_of_one_text_share_a_phrase():
    spans = [[2, 5]]
    text, tally = parse(
        region(tokens_positive=spans),
        region('bigger dog', (20, 0, 30, 9), tokens_positive=[[19, 29]]),
        region(box=(5, 5, 20, 20), tokens_positive=spans),
    )
    assert phrases_of(text) == ['dog', 'bigger dog']
    assert spans_of(text) == [[[2, 5]], [[19, 29]]]
    assert [x['bbox_label'] for x in text['instances']] == [0, 1, 0]
    assert text['instances'][1] == {
        'bbox': [20.0, 0.0, 30.0, 9.0],
        'bbox_label': 1,
        'ignore_flag': 0,
    }
    assert not tally['clipped'] + tally['dropped']


def test_equal_phrases_at_other_places_stay_apart():
    text, _ = parse(
        region(tokens_positive=[[2, 5]]), region(tokens_positive=[[26, 29]])
    )
    assert phrases_of(text) == ['dog', 'dog']


def test_a_region_may_have_several_boxes_and_phrases_in_pieces():
    text, _ = parse(
        {
            'bbox': [[0, 0, 10, 10], [20, 20, 40, 40]],
            'phrase': ['dog', 'bigger dog'],
            'tokens_positive': [[19, 29], [2, 5]],
        }
    )
    assert phrases_of(text) == ['dog bigger dog']
    assert spans_of(text) == [[[2, 5], [19, 29]]]
    assert len(text['instances']) == 2


@pytest.mark.parametrize(
    ('phrase', 'spans'),
    [
        ('dog', [[2, 5]]),  # the first place
        ('BIGGER DOG', [[19, 29]]),  # whatever its case
        ('big', []),  # no whole word
        ('cat', []),
    ],
)
def test_a_phrase_without_span_is_looked_up(phrase, spans):
    for extra in ({}, {'tokens_positive': None}):
        text, _ = parse(region(phrase, **extra))
        assert spans_of(text) == [spans]


def test_no_spans_make_a_text_of_its_own_wherever_its_words_stand():
    """As ``coco-captions`` names the fruit beside "orange tiles"."""
    text, _ = parse(region(tokens_positive=[]), region(box=(9, 9, 20, 20)))
    assert phrases_of(text) == ['dog', 'dog']
    assert spans_of(text) == [[], [[2, 5]]]


def test_a_flat_span_and_a_phrase_from_its_span():
    text, _ = parse({'bbox': [0, 0, 9, 9], 'tokens_positive': [19, 29]})
    assert phrases_of(text) == ['bigger dog']
    assert spans_of(text) == [[[19, 29]]]


@pytest.mark.parametrize(
    'span', [[25, 31], [-1, 3], [5, 5], [7, 2], [1.5, 3], [1], 'ab']
)
def test_a_span_outside_its_caption_names_line_span_and_length(span):
    with pytest.raises(ValueError, match='outside its caption of 30') as error:
        parse(region(tokens_positive=[[0, 1], span]))
    assert 'x.jsonl:3' in str(error.value)
    assert repr(span) in str(error.value)


@pytest.mark.parametrize(
    ('box', 'expected'),
    [
        ([10, 10, 20, 20], [10, 10, 20, 20]),
        ([-5, -5, 20, 20], [0, 0, 20, 20]),
        ([90, 40, 120, 60], [90, 40, 100, 50]),
        ([120, 10, 140, 20], None),  # outside
        ([10, 10, 10, 20], None),  # zero area
        ([20, 20, 10, 10], None),  # corners exchanged
        ([10, 10, 10.5, 20], None),  # below 1 px
        ([float('nan'), 0, 10, 10], None),
        ([0, 0, float('inf'), 10], None),
        ([-(10**400), 0, 10**400, 10], [0, 0, 100, 10]),
    ],
)
def test_boxes_are_clipped_or_dropped_and_counted(box, expected):
    text, tally = parse(region(box=box))
    boxes = [instance['bbox'] for instance in text['instances']]
    assert boxes == [expected] * (expected is not None)
    assert tally['dropped'] == (expected is None)
    assert tally['clipped'] == (expected not in (None, box))


def test_a_phrase_whose_boxes_are_all_dropped_goes_with_them():
    text, tally = parse(
        region(box=(200, 0, 300, 10)),
        region('bigger dog', [[0, 0, 9, 9], [5, 5, 5, 5]]),
    )
    assert phrases_of(text) == ['bigger dog']
    assert [x['bbox_label'] for x in text['instances']] == [0]
    assert tally['dropped'] == 2


@pytest.mark.parametrize(
    'box', [[1, 2, 3], [1, 2, 3, 'x'], {'x': 1}, [1, 2, 3, None], []]
)
def test_what_is_no_box_is_an_error(box):
    with pytest.raises(ValueError, match=r'x\.jsonl:3: .*four numbers'):
        parse({'bbox': [box], 'phrase': 'dog'})


def test_detection_lines_get_a_caption_of_their_categories():
    record = {
        'filename': 'a.jpg',
        'height': 50,
        'width': 100,
        'detection': {
            'instances': [
                {'bbox': [0, 0, 9, 9], 'label': 3, 'category': 'cat'},
                {'bbox': [0, 9, 9, 20], 'label': 5, 'category': 'hot dog'},
                {'bbox': [9, 9, 20, 20], 'label': 3, 'category': 'cat'},
                {'bbox': [0, 0, 0, 0], 'label': 9, 'category': 'bus'},
            ]
        },
    }
    text = parse_record(record)
    assert text['text'] == 'a photo of cat and hot dog'
    assert phrases_of(text) == ['cat', 'hot dog']
    assert spans_of(text) == [[[11, 14]], [[19, 26]]]
    assert [x['bbox_label'] for x in text['instances']] == [0, 1, 0]
    for each in text['phrases'].values():
        ((start, end),) = each['tokens_positive']
        assert text['text'][start:end] == each['phrase']


@pytest.mark.parametrize(
    ('names', 'caption', 'spans'),
    [
        ('', '', []),
        ('a', 'a photo of a', [11]),
        ('abc', 'a photo of a, b and c', [11, 14, 20]),
    ],
)
def test_composed_captions(names, caption, spans):
    instances = [{'bbox': [0, 0, 9, 9], 'category': name} for name in names]
    text = parse_record({**IMAGE, 'detection': {'instances': instances}})
    assert text['text'] == caption
    assert spans_of(text) == [[[x, x + 1]] for x in spans]


def test_images_without_regions_are_legal():
    text, _ = parse()
    assert text['text'] == CAPTION
    assert text['phrases'] == {} and text['instances'] == []


@pytest.mark.parametrize(
    ('record', 'message'),
    [
        ({}, "'filename' is missing"),
        ({'filename': 'a', 'height': 1, 'width': 1}, "lacks 'grounding'"),
        (
            {'filename': 'a', 'height': 0, 'width': 1, 'grounding': {}},
            'a positive integer',
        ),
        (
            {'filename': 'a', 'height': 9, 'width': 9, 'grounding': {}},
            "'grounding': 'caption' is missing",
        ),
        (
            {'filename': 'a', 'height': 9, 'width': 9, 'grounding': 4},
            'must be an object',
        ),
        (
            {
                'filename': 'a',
                'height': 9,
                'width': 9,
                'detection': {'instances': [{'bbox': [0, 0, 3, 3]}]},
            },
            "an instance: 'category' is missing",
        ),
    ],
)
def test_missing_keys_name_the_line(record, message):
    with pytest.raises(DataError, match=r'x\.jsonl:3: .*' + message):
        parse_record(record)


def test_a_region_without_words_is_an_error():
    for bad in (
        {'bbox': [0, 0, 9, 9]},
        {'bbox': [0, 0, 9, 9], 'phrase': ' '},
    ):
        with pytest.raises(ValueError, match=r"x\.jsonl:3: .*'phrase'"):
            parse(bad)
    with pytest.raises(ValueError, match="'grounding': 'caption'"):
        parse(caption=None)


@pytest.mark.parametrize(
    'bad',
    [
        b'{"a": ',
        b'[1]',
        b'\xff\xfe{}',
        b'[' * 100_000,
        b'{"a": ' + b'9' * 5000 + b'}',
        json.dumps(record_of(region(phrase='dog \ud83d'))).encode(),
    ],
)
def test_a_line_that_is_no_json_object_names_file_and_line(bad):
    with pytest.raises(DataError, match=r'x\.jsonl:3: '):
        parse_odvg_line(bad, 'x.jsonl:3', Counter())


def places_of(value, path=()):
    """Every place in a record, as the keys that lead there."""
    yield path
    pairs = value.items() if isinstance(value, dict) else ()
    if isinstance(value, list):
        pairs = enumerate(value)
    for key, inner in pairs:
        yield from places_of(inner, (*path, key))


GROUNDING = record_of(region(tokens_positive=[[2, 5]]), image_id=7)
DETECTION = {
    **IMAGE,
    'detection': {'instances': [{'bbox': [0, 0, 9, 9], 'category': 'cat'}]},
}
WRONG = [
    *(None, True, 0, -1, 10**30, 1.5, float('nan'), '', 'x', [], [[]], {}),
    *({'a': 1}, [None], [-1, -1], [[-1, 4]], [1, 'x'], 'missing', 'twice'),
]


@pytest.mark.parametrize('record', [GROUNDING, DETECTION])
@pytest.mark.parametrize('wrong', WRONG, ids=repr)
def test_whatever_stands_in_a_field_is_read_or_named(record, wrong):
    """Never another exception than the sentence with file and line, and what
    is read has the types that the next ones rely on."""
    for place in places_of(record):
        changed = json.loads(json.dumps(record))
        inner = [changed]
        for key in place[:-1]:
            inner.append(inner[-1][key])
        if not place:
            changed = wrong
        elif wrong == 'missing':
            del inner[-1][place[-1]]
        elif wrong == 'twice' and isinstance(inner[-1], list):
            inner[-1].append(inner[-1][place[-1]])
        else:
            inner[-1][place[-1]] = wrong
        try:
            text = parse_record(changed)
        except DataError as error:
            assert str(error).startswith('x.jsonl:3: '), place
            continue
        assert all(type(text[key]) is str for key in ('filename', 'text'))
        assert all(type(text[key]) is int for key in ('height', 'width'))
        assert not isinstance(text['image_id'], (list, dict))
        for spans in spans_of(text):
            for start, end in spans:
                assert 0 <= start < end <= len(text['text'])
        for instance in text['instances']:
            x1, y1, x2, y2 = instance['bbox']
            assert 0 <= x1 < x2 <= text['width']
            assert 0 <= y1 < y2 <= text['height']
            phrase = text['phrases'][instance['bbox_label']]
            assert type(phrase['phrase']) is str


@pytest.mark.parametrize(
    ('change', 'names'),
    [
        ({'bbox': None}, 'four numbers'),
        ({'bbox': 7}, 'four numbers'),
        ({'bbox': [True, 0, 9, 9]}, 'four numbers'),
        ({'tokens_positive': -1}, 'the span -1'),
        ({'tokens_positive': [-1, 3]}, 'the span'),
        ({'tokens_positive': {'start': 2}}, 'the span'),
        ({'phrase': 5}, "'phrase'"),
        ({'phrase': [None]}, "'phrase'"),
    ],
)
def test_a_bad_region_is_named(change, names):
    with pytest.raises(DataError, match=r'x\.jsonl:3: .*' + names):
        parse({**region(), **change})


@pytest.mark.parametrize(
    ('change', 'names'),
    [
        ({'filename': 17}, "'filename'"),
        ({'filename': ''}, "'filename'"),
        ({'height': 4.5}, "'height'"),
        ({'width': True}, "'width'"),
        ({'image_id': [1]}, "'image_id'"),
        ({'grounding': {'caption': 'A', 'regions': None}}, "'regions'"),
        ({'grounding': {'caption': 'A', 'regions': {}}}, "'regions'"),
        ({'grounding': {'caption': 'A', 'regions': [None]}}, 'a region'),
    ],
)
def test_a_bad_line_is_named(change, names):
    with pytest.raises(DataError, match=r'x\.jsonl:3: .*' + names):
        parse(**change)


def test_negatives_of_a_text_are_those_of_all_its_regions():
    text, _ = parse(
        region(negatives=['cat', 'fox']),
        region('ball', negatives=[]),
        region(negatives=['fox', 'hen']),
        region('bigger dog'),
    )
    found = [each.get('negatives') for each in text['phrases'].values()]
    assert found == [['cat', 'fox', 'hen'], None, None]


@pytest.mark.parametrize('negatives', [None, 'cat', [1], [' '], {'0': 'cat'}])
def test_bad_negatives(negatives):
    with pytest.raises(
        DataError, match=r"x\.jsonl:3: a region: 'negatives' mu"
    ):
        parse(region(negatives=negatives))


def test_scores_of_links():
    text, _ = parse(
        {
            'bbox': [[0, 0, 10, 10], [5, 0, 5, 9], [9, 9, 30, 30]],
            'phrase': 'dog',
            'score': 0.5,
        },
        region('bigger dog'),
    )
    assert text['gt_scores'].tolist() == [0.5, 0.5, 1]  # one box is dropped
    assert text['gt_scores'].dtype == 'float32'
    for sure in (region(), region(score=1), region(score=1.0)):
        assert 'gt_scores' not in parse(sure)[0]
    assert 'gt_scores' not in parse()[0]
    instance = {'bbox': [0, 0, 9, 9], 'category': 'cat', 'score': 0.25}
    text = parse_record({**IMAGE, 'detection': {'instances': [instance]}})
    assert text['gt_scores'].tolist() == [0.25]


@pytest.mark.parametrize(
    'score', [-0.1, 1.1, None, 'high', [0.5], True, float('nan'), 1e400]
)
def test_bad_scores(score):
    with pytest.raises(DataError, match=r"x\.jsonl:3: a region: 'score' mu"):
        parse(region(score=score))
