"""What every page has to keep to."""

from html.parser import HTMLParser

import pytest

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
