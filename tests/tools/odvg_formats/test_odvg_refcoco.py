import json
import os
import pickle

import pytest

from harmoclip_mm.errors import DataError


def ref(number, annotation, image, split, *texts):
    return {
        'ref_id': number,
        'ann_id': annotation,
        'image_id': image,
        'split': split,
        'category_id': 1,
        'file_name': f'COCO_train2014_{image}_{annotation}.jpg',
        'sentences': [
            {'sent': text, 'raw': text, 'tokens': text.split(), 'sent_id': n}
            for n, text in enumerate(texts)
        ],
    }


REFS = [
    ref(0, 7, 20, 'train', 'red car', 'car on the left', ''),
    ref(1, 8, 20, 'train', 'blue car'),
    ref(2, 9, 21, 'testA', 'man'),
    ref(3, 999, 21, 'testA', 'lost'),
]


@pytest.fixture
def refcoco(tmp_path):
    def write(refs=REFS, name='refs(unc).p', protocol=2):
        with open(tmp_path / name, 'wb') as file:
            pickle.dump(refs, file, protocol=protocol)
        size = {'width': 300, 'height': 200}
        boxes = ((7, 20), (8, 20), (9, 21))
        content = {
            'images': [
                {'id': n, 'file_name': f'{n}.jpg', **size} for n in (20, 21)
            ],
            'annotations': [
                {'id': n, 'image_id': i, 'bbox': [n, 10, 50, 60]}
                for n, i in boxes
            ],
        }
        (tmp_path / 'instances.json').write_text(json.dumps(content))
        return tmp_path

    return write


def line(name, *regions):
    return {
        'filename': name,
        'height': 200,
        'width': 300,
        'grounding': {
            'caption': '',
            'regions': [
                {
                    'bbox': [x, 10, x + 50, 70],
                    'phrase': phrase,
                    'tokens_positive': [],
                }
                for x, phrase in regions
            ],
        },
    }


def test_no_line_has_two_expressions_of_a_box(refcoco, convert):
    lines, tally = convert('refcoco', refcoco())
    assert lines == [
        line('20.jpg', (7, 'red car'), (8, 'blue car')),
        line('20.jpg', (7, 'car on the left')),
        line('20.jpg'),
        line('21.jpg', (9, 'man')),
    ]
    assert tally.dropped == {
        'regions without words': 1,
        'expressions whose box is not listed': 1,
    }


@pytest.mark.parametrize(
    'words, reason',
    [('lost', 'expressions whose box is not listed'), ('', 'without words')],
)
def test_no_box_left_is_an_error(refcoco, convert, words, reason):
    refs = [ref(0, 999 if words else 7, 20, 'train', words)]
    with pytest.raises(DataError, match=f'no box is left; .*{reason}: 1'):
        convert('refcoco', refcoco(refs))


def test_splits_and_several_files(refcoco, convert):
    source = refcoco(name='refs(umd).p')
    lines, _ = convert('refcoco', source, '--split', 'testA')
    assert lines == [line('21.jpg', (9, 'man'))]
    with pytest.raises(DataError, match=r"no split val, but \['testA', 'tr"):
        convert('refcoco', source, '--split', 'val')
    refcoco(REFS[:1], name='refs(google).p')
    with pytest.raises(DataError, match='Give the file itself'):
        convert('refcoco', source)
    lines, _ = convert('refcoco', source / 'refs(google).p')
    assert len(lines) == 3


class Hostile:
    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return os.mkdir, (self.path,)


@pytest.mark.parametrize('protocol', [0, 2, 4])
def test_a_hostile_pickle_is_refused(refcoco, convert, tmp_path, protocol):
    victim = tmp_path / 'victim'
    source = refcoco([*REFS, Hostile(str(victim))], protocol=protocol)
    with pytest.raises(DataError, match=r'refs\(unc\)\.p: not the plain data'):
        convert('refcoco', source)
    assert not victim.exists()


def test_files_that_are_none(refcoco, convert, tmp_path):
    with pytest.raises(DataError, match='should have one file'):
        convert('refcoco', tmp_path)
    source = refcoco({'a': 1})
    with pytest.raises(
        DataError, match=r'refs\(unc\)\.p is not as in refcoco'
    ):
        convert('refcoco', source)
    file = source / 'refs(unc).p'
    file.write_bytes(pickle.dumps(REFS)[:-9])
    with pytest.raises(DataError, match=r'refs\(unc\)\.p: not'):
        convert('refcoco', source)
    refcoco()
    (source / 'instances.json').unlink()
    with pytest.raises(DataError, match=r'instances\.json is missing'):
        convert('refcoco', source)
