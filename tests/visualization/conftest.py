"""What every page has to keep to."""

from html.parser import HTMLParser

import numpy as np
import pytest
from PIL import Image

VOID = {'meta', 'link', 'img', 'input', 'br'}
# What a browser asks for by itself, and what a reader clicks.
LOADING = ('src', 'href', 'srcset', 'poster', 'data', 'action')


class Reader(HTMLParser):
    """Collects elements; complains about what does not close."""

    def __init__(self):
        super().__init__()
        self.open, self.elements, self.texts = [], [], []

    def handle_starttag(self, tag, attrs):
        assert len(dict(attrs)) == len(attrs), f'{tag} repeats an attribute'
        self.elements.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attrs):
        self.elements.append((tag, dict(attrs)))

    def handle_endtag(self, tag):
        assert self.open and self.open.pop() == tag, f'</{tag}> closes nothing'

    def handle_data(self, data):
        self.texts.append(data)


def check_loads_nothing(reader):
    for tag, attributes in reader.elements:
        for name in LOADING:
            if name in attributes:
                assert attributes[name].startswith(('#', 'data:')), (tag, name)
    assert 'http:' not in ''.join(reader.texts)
    assert 'url(' not in ''.join(reader.texts)
    (policy,) = (a['content'] for _, a in reader.elements if 'http-equiv' in a)
    assert policy.startswith("default-src 'none'")


def check_can_be_read_aloud(reader):
    by_tag = {}
    for tag, attributes in reader.elements:
        by_tag.setdefault(tag, []).append(attributes)
    assert by_tag['html'][0]['lang'] == 'en'
    assert all(a['alt'] for a in by_tag.get('img', ()))
    assert all(a['scope'] in ('col', 'row') for a in by_tag.get('th', ()))
    assert len(by_tag.get('caption', ())) == len(by_tag.get('table', ()))
    ids = [a['id'] for _, a in reader.elements if 'id' in a]
    assert len(ids) == len(set(ids))
    assert {a['href'][1:] for a in by_tag['a']} <= set(ids)


@pytest.fixture
def read_html():
    """Read a page and check what every page has to keep to."""

    def read(path):
        reader = Reader()
        reader.feed(path.read_text(encoding='utf-8'))
        reader.close()
        assert reader.open == []
        check_loads_nothing(reader)
        check_can_be_read_aloud(reader)
        return reader

    return read


# A results file small enough to work out by hand.
CLASSES = ('cat', 'dog', 'a <b> & "c"', 'never', 'sure')
RUN = {'classes': CLASSES, 'groups': {'animals': (0, 1), 'none': (3,)}}


def record(image, path, boxes, labels, topk_labels, topk_scores):
    """One image as load_results gives it."""
    return {
        'img_id': image,
        'img_path': str(path),
        'run': RUN,
        'gt_instances': {
            'bboxes': np.array(boxes, dtype=np.float32).reshape(-1, 4),
            'labels': np.array(labels, dtype=np.int64),
        },
        'pred_instances': {
            'labels': np.array([row[0] for row in topk_labels], dtype=int),
            'scores': np.array([row[0] for row in topk_scores]),
            'topk_labels': np.array(topk_labels, dtype=int).reshape(-1, 5),
            'topk_scores': np.array(topk_scores).reshape(-1, 5),
        },
    }


@pytest.fixture
def records(tmp_path):
    """Three images, the second without boxes; the third's file is lost.

    ====  =======  ========  =====  ==========
    box   true     best      score  side in px
    ====  =======  ========  =====  ==========
    0     cat      cat       0.9    10
    1     cat      dog       0.8    40
    2     cat      dog       0.6    100
    3     dog      a <b>...  0.4    10
    4     sure     sure      1.0    10
    ====  =======  ========  =====  ==========
    """
    path = tmp_path / 'first.png'
    noise = np.random.default_rng(0).integers(0, 256, (120, 160, 3))
    Image.fromarray(noise.astype(np.uint8)).save(path)

    def square(side):
        return [5, 5, 5 + side, 5 + side]

    def rest(best):
        return [best / 10**n for n in range(5)]

    return [
        record(
            'one', path, [square(10), square(40), square(100)], [0, 0, 0],
            [[0, 1, 2, 3, 4], [1, 0, 2, 3, 4], [1, 2, 0, 3, 4]],
            [rest(0.9), rest(0.8), rest(0.6)],
        ),
        record('two', path, [], [], [], []),
        record(
            'three', tmp_path / 'lost.png', [square(10), square(10)], [1, 4],
            [[2, 1, 0, 3, 4], [4, 1, 2, 3, 0]], [rest(0.4), rest(1.0)],
        ),
    ]  # fmt: skip
