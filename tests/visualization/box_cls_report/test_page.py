"""The page as a reader of HTML and as a browser see it."""

import re
import shutil
import subprocess
from html.parser import HTMLParser

import pytest

from harmoclip_mm.visualization.box_cls_report import (
    collect,
    summarise,
    write_page,
)

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


@pytest.fixture
def page(records, vocabulary, tmp_path):
    boxes = collect(records)
    summary = summarise(boxes, vocabulary, min_boxes=1)
    path = tmp_path / 'folder' / 'page.html'
    write_page(path, boxes, summary, 'results <1>.pkl', title='A & B')
    return path


@pytest.fixture
def read(page):
    reader = Reader()
    reader.feed(page.read_text(encoding='utf-8'))
    reader.close()
    assert reader.open == []
    return reader


def test_it_loads_nothing(read):
    for tag, attributes in read.elements:
        for name in LOADING:
            if name in attributes:
                assert attributes[name].startswith(('#', 'data:')), (tag, name)
    assert 'http:' not in ''.join(read.texts)
    assert 'url(' not in ''.join(read.texts)
    (policy,) = (a['content'] for _, a in read.elements if 'http-equiv' in a)
    assert policy.startswith("default-src 'none'")


def test_it_can_be_read_aloud(read):
    by_tag = {}
    for tag, attributes in read.elements:
        by_tag.setdefault(tag, []).append(attributes)
    assert by_tag['html'][0]['lang'] == 'en'
    assert all(a['alt'] for a in by_tag['img'])
    assert by_tag['img'][0]['alt'] == 'cat in its box, taken for dog'
    assert all(a['scope'] in ('col', 'row') for a in by_tag['th'])
    assert all(a['role'] == 'img' and a['aria-label'] for a in by_tag['svg'])
    assert len(by_tag['caption']) == len(by_tag['table'])
    ids = {a['id'] for _, a in read.elements if 'id' in a}
    links = {a['href'][1:] for a in by_tag['a']}
    assert links <= ids


def test_what_it_says(read, page):
    text = ' '.join(''.join(read.texts).split())
    assert '5 boxes in 3 images, from results <1>.pkl' in text
    assert '2 of 5 classes have no box' in text
    assert 'image not found' in text  # of the file that is lost
    assert 'is a <b> & "c"' not in text and 'a <b> & "c" (1)' in text
    assert page.read_text(encoding='utf-8').count('data:image/jpeg') == 2
    assert 'nan' not in text.lower() and '$' not in text


def test_all_right(records, vocabulary, tmp_path):
    boxes = collect(records[2:])
    boxes.labels = boxes.topk_labels[:, 0]
    write_page(tmp_path / 'a.html', boxes, summarise(boxes, vocabulary), 'x')
    text = (tmp_path / 'a.html').read_text(encoding='utf-8')
    assert text.count('Every box got its class.') == 2


CLICKS = """
<script>
(function () {
  function names() {
    return [].map.call(document.querySelectorAll('#class-table tbody tr'),
      function (row) { return row.cells[0].textContent; }).join('|');
  }
  var heads = document.querySelectorAll('#class-table thead th');
  var said = [names()];
  heads[2].querySelector('button').click(); said.push(names());
  heads[2].querySelector('button').click(); said.push(names());
  said.push(heads[2].getAttribute('aria-sort'));
  var filter = document.getElementById('filter');
  filter.value = 'DOG'; filter.dispatchEvent(new Event('input'));
  said.push(document.getElementById('shown').textContent);
  said.push(document.images.length + ' ' + [].every.call(document.images,
    function (image) { return image.naturalWidth > 0; }));
  var out = document.createElement('pre');
  out.id = 'said'; out.textContent = said.join('\\n');
  document.body.appendChild(out);
  console.info('the end');
}());
</script>
"""


@pytest.mark.slow
def test_in_chromium(page, tmp_path):
    """No message on the console; sorting, filter and pictures work."""
    names = ('chromium', 'chromium-browser', 'google-chrome', 'chrome')
    browser = next(filter(None, map(shutil.which, names)), None)
    if browser is None:
        pytest.skip(f'no Chromium on PATH ({", ".join(names)})')
    text = page.read_text(encoding='utf-8')
    clicked = tmp_path / 'clicked.html'
    clicked.write_text(
        text.replace('</body>', CLICKS + '</body>'), encoding='utf-8'
    )
    result = subprocess.run(
        [browser, '--headless', '--no-sandbox', '--disable-gpu',
         '--disable-dev-shm-usage', '--enable-logging=stderr',
         f'--user-data-dir={tmp_path / "profile"}', '--dump-dom',
         clicked.as_uri()],
        capture_output=True, text=True,
        timeout=120,
    )  # fmt: skip
    # our own message shows that any other would be seen
    messages = re.findall(r'CONSOLE.*', result.stderr)
    assert len(messages) == 1 and 'the end' in messages[0], result.stderr
    said = re.search(r'<pre id="said">(.*?)</pre>', result.stdout, re.S)
    assert said, result.stdout[-2000:] + result.stderr[-2000:]
    assert said.group(1).split('\n') == [
        'cat|dog|sure',
        'dog|sure|cat',
        'cat|dog|sure',
        'descending',
        '1 of 3',
        '2 true',
    ]
