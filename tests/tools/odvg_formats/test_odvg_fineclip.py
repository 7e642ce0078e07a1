import json

import pytest

from harmoclip_mm.errors import DataError, UsageError

KEYS = {
    '9_10_20_30_40': 'a dog',  # an id
    '9_150_80_100_40': 'a red ball',  # reaches out
    '9_-5_0_3_3': 'outside',
    'b_c.jpg_1_2_3_4.jpg': 'a cat',  # a file name, as FineCLIP has it
    'gone.jpg_1_2_3_4.jpg': 'a cow',
}


@pytest.fixture
def regions(tmp_path, image):
    image('images/000000000009.jpg', 200, 100)
    image('images/b_c.jpg', 60, 40)
    path = tmp_path / 'regions.json'
    path.write_text(json.dumps(KEYS), encoding='utf-8-sig')
    return path


def line(name, width, height, caption, *regions):
    return {
        'filename': name,
        'height': height,
        'width': width,
        'grounding': {
            'caption': caption,
            'regions': [
                {'bbox': bbox, 'phrase': phrase, 'tokens_positive': spans}
                for bbox, phrase, spans in regions
            ],
        },
    }


def boxes(dog=()):
    return (
        ([10, 20, 40, 60], 'a dog', list(dog)),
        ([150, 80, 200, 100], 'a red ball', []),
    )


CAT = line('b_c.jpg', 60, 40, '', ([1, 2, 4, 6], 'a cat', []))


def test_keys(regions, convert, tmp_path):
    lines, tally = convert(
        'fineclip', regions, '--images', tmp_path / 'images'
    )
    assert lines == [
        line('000000000009.jpg', 200, 100, '', *boxes()),
        CAT,
    ]
    assert tally.dropped == {
        'boxes outside of the image or below 1 px': 1,
        'images that are missing': 1,
    }


def test_captions_of_the_images(regions, convert, tmp_path):
    captions = tmp_path / 'captions.json'
    texts = ('It is a dog.', 'Fine')
    content = {
        'images': [{'id': 4, 'file_name': '000000000009.jpg'}],
        'annotations': [{'image_id': 4, 'caption': text} for text in texts],
    }
    captions.write_text(json.dumps(content))
    words = ('--images', tmp_path / 'images', '--captions', captions)
    lines, tally = convert('fineclip', regions, *words)
    assert tally.read['images that --captions does not name'] == 1
    name = '000000000009.jpg'
    assert lines == [
        line(name, 200, 100, 'It is a dog.', *boxes(dog=[[6, 11]])),
        line(name, 200, 100, 'Fine', *boxes()),
        CAT,
    ]


def test_a_caption_of_an_image_that_is_not_listed(regions, convert, tmp_path):
    captions = tmp_path / 'captions.json'
    row = {'id': 3, 'image_id': 5, 'caption': 'Fine'}
    captions.write_text(json.dumps({'images': [], 'annotations': [row]}))
    words = ('--images', tmp_path / 'images', '--captions', captions)
    found = r'captions\.json does not list image_id 5 of annotation 3'
    with pytest.raises(DataError, match=found):
        convert('fineclip', regions, *words)


def test_bad_files(regions, convert, tmp_path):
    with pytest.raises(UsageError, match='needs --images'):
        convert('fineclip', regions)
    regions.write_text('{"9_1_2": "a dog"}')
    with pytest.raises(DataError, match=r"regions.json: the key '9_1_2'"):
        convert('fineclip', regions, '--images', tmp_path)
    regions.write_text('{"9_1_2_3_4": "a dog",\n"9_1_2_3_')
    with pytest.raises(DataError, match=r'regions\.json:2: not valid JSON'):
        convert('fineclip', regions, '--images', tmp_path / 'images')
    assert not list((tmp_path / 'out').iterdir())
