import json

import pytest

from harmoclip_mm.errors import DataError, UsageError

ITEM = {
    'f_path': 'grit-12m/coyo_image_0/00000/1.jpg',
    'caption': 'A large photo of a brown dog. It runs on grass.',
    'short_caption': 'A dog runs.',
    'bbox_info': [
        {
            'bbox': [0.1, 0.2, 0.5, 0.6, 0.87654],
            'short_expr': 'a brown dog',
            'long_expr': 'a brown dog that runs',
            'flag_short_neg': 1,
            'short_expr_negs': {'0': 'a brown cat', '1': 'a red dog'},
        },
        {
            'bbox': [0.0, 0.5, 1.2, 1.0],
            'short_expr': 'grass',
            'long_expr': '',
            'flag_short_neg': 0,
        },
    ],
}
MISSING = {**ITEM, 'f_path': 'gone.jpg'}


@pytest.fixture
def finehard(tmp_path, image):
    image('images/' + ITEM['f_path'], 200, 100)

    def write(items):
        path = tmp_path / 'FineHARD' / 'jsonfiles' / 'results.json'
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(items))
        return path.parent.parent

    return write


def line(caption, *regions):
    return {
        'filename': ITEM['f_path'],
        'height': 100,
        'width': 200,
        'grounding': {'caption': caption, 'regions': list(regions)},
    }


def dog(*spans, phrase='a brown dog', **more):
    return {
        'bbox': [20.0, 20.0, 100.0, 60.0],
        'phrase': phrase,
        'tokens_positive': list(spans),
        'score': 0.8765,
        **more,
    }


def grass(*spans):
    return {
        'bbox': [0.0, 50.0, 200, 100.0],
        'phrase': 'grass',
        'tokens_positive': list(spans),
    }


def test_expressions_are_linked_where_the_caption_has_them(
    finehard, convert, tmp_path
):
    source = finehard([ITEM, MISSING])
    lines, tally = convert('finehard', source, '--images', tmp_path / 'images')
    hard = dict(negatives=['a brown cat', 'a red dog'])
    assert lines == [
        line(ITEM['caption'], dog([17, 28], **hard), grass([41, 46])),
        line(ITEM['short_caption'], dog(**hard), grass()),
    ]
    assert tally.dropped == {'images that are missing': 1}
    assert tally.written['hard negatives'] == 4
    assert tally.written['regions linked to the caption'] == 2
    assert tally.written['regions with a text of their own'] == 2


def test_choice_of_words(finehard, convert, tmp_path):
    source = finehard([ITEM]) / 'jsonfiles' / 'results.json'
    words = ('--caption', 'short', '--expression', 'long')
    lines, tally = convert(
        'finehard', source, '--images', tmp_path / 'images', *words
    )
    assert lines == [
        line(ITEM['short_caption'], dog(phrase='a brown dog that runs'))
    ]
    assert tally.dropped['regions without words'] == 1


def test_bad_files(finehard, convert, tmp_path):
    source = finehard([ITEM, {'f_path': ITEM['f_path']}])
    with pytest.raises(UsageError, match='needs --images'):
        convert('finehard', source)
    words = ('--images', tmp_path / 'images')
    with pytest.raises(
        DataError, match=r"results\.json: element 1 .*'caption'"
    ):
        convert('finehard', source, *words)
    with pytest.raises(DataError, match=r'has no \.json'):
        convert('finehard', tmp_path / 'images', *words)
