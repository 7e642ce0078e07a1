import json

import pytest

from harmoclip_mm.errors import DataError


@pytest.fixture
def genome(tmp_path):
    def write(descriptions, encoding='utf-8'):
        data = [
            {
                'image_id': number,
                'url': f'https://cs.stanford.edu/x/{folder}/{number}.jpg',
                'width': 800,
                'height': 600,
            }
            for number, folder in ((1, 'VG_100K_2'), (2, 'VG_100K'))
        ]
        for name, content in (
            ('image_data', data),
            ('region_descriptions', descriptions),
        ):
            path = tmp_path / f'{name}.json'
            path.write_text(json.dumps(content), encoding=encoding)
        return tmp_path

    return write


def described(x, y, width, height, phrase, image=1):
    return dict(
        region_id=4,
        image_id=image,
        phrase=phrase,
        **dict(x=x, y=y, width=width, height=height),
    )


def test_descriptions_are_texts_of_their_own(genome, convert):
    source = genome(
        [
            {
                'id': 1,
                'regions': [
                    described(10, 20, 30, 40, 'the  clock\n is green '),
                    described(-5, 590, 30, 40, 'grass'),
                    described(900, 0, 30, 40, 'outside'),
                    described(1, 2, 30, 40, ' '),
                ],
            },
            {'regions': [described(0, 0, 2, 2, 'sky', image=2)]},
            {'id': 2, 'regions': []},
            {'id': 3, 'regions': [described(0, 0, 2, 2, 'sky')]},
        ],
        encoding='utf-8-sig',
    )
    lines, tally = convert('visual-genome', source)
    head = {'height': 600, 'width': 800}
    assert lines == [
        {
            'filename': name,
            **head,
            'grounding': {
                'caption': '',
                'regions': [
                    {'bbox': bbox, 'phrase': phrase, 'tokens_positive': []}
                    for bbox, phrase in regions
                ],
            },
        }
        for name, regions in (
            (
                'VG_100K_2/1.jpg',
                [
                    ([10, 20, 40, 60], 'the clock is green'),
                    ([0, 590, 25, 600], 'grass'),
                ],
            ),
            ('VG_100K/2.jpg', [([0, 0, 2, 2], 'sky')]),
            ('VG_100K/2.jpg', []),
        )
    ]
    assert tally.dropped == {
        'boxes outside of the image or below 1 px': 1,
        'regions without words': 1,
        'images that image_data.json does not list': 1,
    }


def test_bad_files(genome, convert, tmp_path):
    with pytest.raises(DataError, match='json is missing'):
        convert('visual-genome', tmp_path)
    source = genome([{'id': 1, 'regions': [{'phrase': 'x'}]}])
    with pytest.raises(DataError, match=r"image 1 is not as .*'x'"):
        convert('visual-genome', source)
    (source / 'image_data.json').write_text('[{"image_id": 1}]')
    with pytest.raises(DataError, match=r'image_data.json: element 0'):
        convert('visual-genome', source)
