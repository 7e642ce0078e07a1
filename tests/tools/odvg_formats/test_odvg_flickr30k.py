import pytest

from harmoclip_mm.errors import DataError

XML = """<annotation>
  <filename>{name}.jpg</filename>
  <size><width>500</width><height>375</height><depth>3</depth></size>
  {objects}
</annotation>"""
BOX = (
    '<object>{names}<bndbox><xmin>{}</xmin><ymin>{}</ymin><xmax>{}</xmax>'
    '<ymax>{}</ymax></bndbox></object>'
)
NONE = (
    '<object><name>{}</name><scene>{}</scene><nobndbox>1</nobndbox></object>'
)


def objects():
    return '\n'.join(
        (
            BOX.format(1, 1, 500, 375, names='<name>10</name>'),
            # one box of two entities, and a second one of the first
            BOX.format(11, 21, 30, 40, names='<name>11</name><name>12</name>'),
            BOX.format(101, 21, 130, 40, names='<name>11</name>'),
            NONE.format(13, 1),
            NONE.format(14, 0),
        )
    )


@pytest.fixture
def entities(tmp_path):
    def write(name, text, content=None):
        for folder in ('Sentences', 'Annotations'):
            (tmp_path / folder).mkdir(exist_ok=True)
        (tmp_path / 'Sentences' / f'{name}.txt').write_bytes(text)
        if content is None:
            content = XML.format(name=name, objects=objects())
        (tmp_path / 'Annotations' / f'{name}.xml').write_text(content)
        return tmp_path

    return write


def region(bbox, phrase, start, end):
    return {
        'bbox': bbox,
        'phrase': phrase,
        'tokens_positive': [[start, end]],
    }


def test_spans_are_counted_without_the_brackets(entities, convert):
    source = entities(
        '36979',
        b'[/EN#11/people Two men] on [/EN#13/scene a field] hold '
        b"[/EN#12/bodyparts/people a man 's arm] .\r\n"
        b'[/EN#10/other Smoke] hides [/EN#0/notvisual each other] and '
        b'[/EN#14/other a dog] and [/EN#99/other a cat] .\r\n',
    )
    lines, tally = convert('flickr30k-entities', source)
    head = {'filename': '36979.jpg', 'height': 375, 'width': 500}
    two = [[10, 20, 30, 40], [100, 20, 130, 40]]
    assert lines == [
        {
            **head,
            'grounding': {
                #           0      7            21   26
                'caption': "Two men on a field hold a man 's arm .",
                'regions': [
                    region(two, 'Two men', 0, 7),
                    region([10, 20, 30, 40], "a man 's arm", 24, 36),
                ],
            },
        },
        {
            **head,
            'grounding': {
                'caption': 'Smoke hides each other and a dog and a cat .',
                'regions': [region([0, 0, 500, 375], 'Smoke', 0, 5)],
            },
        },
    ]
    assert tally.dropped == {
        'phrases of the scene': 1,
        'phrases that are not visible': 1,
        'phrases without a box': 2,
    }
    assert tally.written['regions linked to the caption'] == 3


def test_mmdet_reads_the_same(entities, convert, tmp_path):
    from mmdet.datasets import ODVGDataset

    text = b'[/EN#11/people Two men] hold [/EN#12/people a man] .'
    convert('flickr30k-entities', entities('1', text))
    dataset = ODVGDataset(
        ann_file=str(tmp_path / 'out' / 'lines.jsonl'),
        data_prefix={'img': 'images'},
        pipeline=[],
        return_classes=True,
        test_mode=True,
    )
    info = dataset.get_data_info(0)
    assert info['text'] == 'Two men hold a man .'
    assert info['phrases'] == {
        0: {'phrase': 'Two men', 'tokens_positive': [[0, 7]]},
        1: {'phrase': 'a man', 'tokens_positive': [[13, 18]]},
    }
    assert [each['bbox_label'] for each in info['instances']] == [0, 0, 1]


def test_splits(entities, convert):
    for name in ('1', '2', '3'):
        source = entities(name, b'[/EN#10/other A dog] .')
    (source / 'val.txt').write_bytes(b'\xef\xbb\xbf3\r\n1\r\n4\r\n')
    names = [
        [line['filename'] for line in convert(*words)[0]]
        for words in (
            ('flickr30k-entities', source),
            ('flickr30k-entities', source, '--split', 'val'),
        )
    ]
    assert names == [['1.jpg', '2.jpg', '3.jpg'], ['3.jpg', '1.jpg']]
    _, tally = convert('flickr30k-entities', source, '--split', 'val')
    assert tally.dropped == {'images without sentences or annotations': 1}
    with pytest.raises(DataError, match=r'test\.txt is missing'):
        convert('flickr30k-entities', source, '--split', 'test')


def test_bad_files(entities, convert, tmp_path):
    with pytest.raises(DataError, match='Sentences is missing: SOURCE'):
        convert('flickr30k-entities', tmp_path)
    source = entities('1', b'A [/EN#10/other dog .')
    with pytest.raises(DataError, match=r'1\.txt:1: a bracket is left open'):
        convert('flickr30k-entities', source)
    entities('1', b'A [/EN#10/other dog] .', '<annotation>')
    with pytest.raises(DataError, match=r'1\.xml: not XML'):
        convert('flickr30k-entities', source)
