from collections import Counter

import pytest

from harmoclip_mm.datasets.odvg import (
    clean_box,
    compose_caption,
    parse_odvg_record,
    read_odvg_line,
)

CAPTION = 'A dog runs after a bigger dog.'


def parse(*regions, caption=CAPTION, **extra):
    tally = Counter()
    record = {
        'filename': 'a.jpg',
        'height': 50,
        'width': 100,
        'grounding': {'caption': caption, 'regions': list(regions)},
        **extra,
    }
    return parse_odvg_record(record, 'x.jsonl:3', tally), tally


def region(phrase='dog', box=(0, 0, 10, 10), **extra):
    return {'bbox': list(box), 'phrase': phrase, **extra}


def test_regions_of_one_text_share_a_phrase():
    spans = [[2, 5]]
    text, tally = parse(
        region(tokens_positive=spans),
        region('bigger dog', (20, 0, 30, 9), tokens_positive=[[19, 29]]),
        region(box=(5, 5, 20, 20), tokens_positive=spans),
    )
    assert text['phrases'] == ['dog', 'bigger dog']
    assert text['tokens_positive'] == [[[2, 5]], [[19, 29]]]
    assert [x['bbox_label'] for x in text['instances']] == [0, 1, 0]
    assert text['instances'][1] == {
        'bbox': [20.0, 0.0, 30.0, 9.0],
        'bbox_label': 1,
        'ignore_flag': 0,
    }
    assert tally['boxes'] == 3 and not tally['clipped'] + tally['dropped']


def test_equal_phrases_at_other_places_stay_apart():
    text, _ = parse(
        region(tokens_positive=[[2, 5]]), region(tokens_positive=[[26, 29]])
    )
    assert text['phrases'] == ['dog', 'dog']


def test_a_region_may_have_several_boxes_and_phrases_in_pieces():
    text, _ = parse(
        {
            'bbox': [[0, 0, 10, 10], [20, 20, 40, 40]],
            'phrase': ['dog', 'bigger dog'],
            'tokens_positive': [[19, 29], [2, 5]],
        }
    )
    assert text['phrases'] == ['dog bigger dog']
    assert text['tokens_positive'] == [[[2, 5], [19, 29]]]
    assert len(text['instances']) == 2


@pytest.mark.parametrize(
    ('phrase', 'spans'),
    [
        ('dog', [[2, 5]]),  # the first place
        ('BIGGER DOG', [[19, 29]]),  # whatever its case
        ('big', None),  # no whole word
        ('cat', None),
    ],
)
def test_a_phrase_without_span_is_looked_up(phrase, spans):
    for extra in ({}, {'tokens_positive': None}, {'tokens_positive': []}):
        text, _ = parse(region(phrase, **extra))
        assert text['tokens_positive'] == [spans]


def test_a_flat_span_and_a_phrase_from_its_span():
    text, _ = parse({'bbox': [0, 0, 9, 9], 'tokens_positive': [19, 29]})
    assert text['phrases'] == ['bigger dog']
    assert text['tokens_positive'] == [[[19, 29]]]


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
    ],
)
def test_boxes_are_clipped_or_dropped_and_counted(box, expected):
    tally = Counter()
    assert clean_box(box, (100, 50), 'x:1', tally) == expected
    assert tally['boxes'] == 1
    assert tally['dropped'] == (expected is None)
    assert tally['clipped'] == (expected not in (None, box))


def test_a_phrase_whose_boxes_are_all_dropped_goes_with_them():
    text, tally = parse(
        region(box=(200, 0, 300, 10)),
        region('bigger dog', [[0, 0, 9, 9], [5, 5, 5, 5]]),
    )
    assert text['phrases'] == ['bigger dog']
    assert [x['bbox_label'] for x in text['instances']] == [0]
    assert tally['dropped'] == 2 and tally['boxes'] == 3


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
    text = parse_odvg_record(record, 'x:1', Counter())
    assert text['caption'] == 'a photo of cat and hot dog'
    assert text['phrases'] == ['cat', 'hot dog']
    assert text['tokens_positive'] == [[[11, 14]], [[19, 26]]]
    assert [x['bbox_label'] for x in text['instances']] == [0, 0, 1]
    for phrase, spans in zip(text['phrases'], text['tokens_positive']):
        ((start, end),) = spans
        assert text['caption'][start:end] == phrase


def test_composed_captions():
    assert compose_caption([]) == ('', [])
    assert compose_caption(['dog']) == ('a photo of dog', [[11, 14]])
    assert compose_caption(['a', 'b', 'c'])[0] == 'a photo of a, b and c'


def test_images_without_regions_are_legal():
    text, _ = parse()
    assert text['caption'] == CAPTION
    assert text['phrases'] == text['instances'] == []


@pytest.mark.parametrize(
    ('record', 'message'),
    [
        ({}, "lacks .*'filename', 'height', 'width'"),
        ({'filename': 'a', 'height': 1, 'width': 1}, "lacks 'grounding'"),
        (
            {'filename': 'a', 'height': 0, 'width': 1, 'grounding': {}},
            'positive integers',
        ),
        (
            {'filename': 'a', 'height': 9, 'width': 9, 'grounding': {}},
            "'grounding' lacks .*'caption', 'regions'",
        ),
        (
            {'filename': 'a', 'height': 9, 'width': 9, 'grounding': 4},
            'must be a JSON object',
        ),
        (
            {
                'filename': 'a',
                'height': 9,
                'width': 9,
                'detection': {'instances': [{'bbox': [0, 0, 3, 3]}]},
            },
            "an instance lacks .*'category'",
        ),
    ],
)
def test_missing_keys_name_the_line(record, message):
    with pytest.raises(ValueError, match=r'x\.jsonl:7: .*' + message):
        parse_odvg_record(record, 'x.jsonl:7', Counter())


def test_a_region_without_words_is_an_error():
    for bad in (
        {'bbox': [0, 0, 9, 9]},
        {'bbox': [0, 0, 9, 9], 'phrase': ' '},
    ):
        with pytest.raises(ValueError, match=r"x\.jsonl:3: .*'phrase'"):
            parse(bad)
    with pytest.raises(ValueError, match='caption must be a string'):
        parse(caption=None)


@pytest.mark.parametrize('bad', [b'{"a": ', b'[1]', b'\xff\xfe{}'])
def test_a_line_that_is_no_json_object_names_file_and_line(bad):
    assert read_odvg_line(b'{"a": 1}\n', 'x.jsonl:1') == {'a': 1}
    with pytest.raises(ValueError, match=r'x\.jsonl:3: '):
        read_odvg_line(bad, 'x.jsonl:3')
