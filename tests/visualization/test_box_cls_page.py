"""The page as a reader of HTML and as a browser see it."""

import re

import pytest
from processes import open_in_chromium

from harmoclip_mm.visualization import box_cls_report
from harmoclip_mm.visualization.box_cls_figures import BoxClsFigures
from harmoclip_mm.visualization.box_cls_report import write_page


@pytest.fixture
def page(records, tmp_path, monkeypatch):
    monkeypatch.setattr(box_cls_report, 'MIN_BOXES', 1)
    run = {'config': 'a<b>.py', 'checkpoint': 'c.pth', 'date': '2026-01-02'}
    for record in records:
        record['run'] = {**record['run'], **run}
    path = tmp_path / 'folder' / 'page.html'
    figures = BoxClsFigures(records)
    write_page(path, figures, 'results <1>.pkl')
    return path


@pytest.fixture
def read(page, read_html):
    return read_html(page)


def test_what_pictures_show_is_told(read):
    alts = [a['alt'] for tag, a in read.elements if tag == 'img']
    assert 'cat in its box, taken for dog' in alts


def rows_of(page, caption):
    """Cells of a table's rows, as their texts."""
    text = page.read_text(encoding='utf-8')
    table = re.search(rf'<caption>{caption}.*?</table>', text, re.S).group()
    rows = re.findall(r'<tr>(<th scope="row">.*?)</tr>', table, re.S)
    return [
        [
            re.sub(r'<.*?>', '', cell).strip()
            for cell in re.findall(r'<t[hd].*?</t[hd]>', row, re.S)
        ]
        for row in rows
    ]


def test_what_it_says(read, page):
    text = ' '.join(''.join(read.texts).split())
    assert '5 boxes in 3 images, from results <1>.pkl' in text
    for origin in ('a<b>.py', 'c.pth', '2026-01-02'):
        assert origin in text
    assert '2 of 5 classes have no box' in text
    assert 'image not found' in text  # of the file that is lost
    assert 'is a <b> & "c"' not in text and 'a <b> & "c" (1)' in text
    assert page.read_text(encoding='utf-8').count('data:image/jpeg') == 2
    assert 'nan' not in text.lower() and '{{' not in text


def test_its_figures(page):
    """Those that test_box_cls_figures.py works out by hand."""
    text = page.read_text(encoding='utf-8')
    tiles = dict(re.findall(r'<dt>(.*?)</dt><dd>(.*?)</dd></div>', text))
    assert tiles == {
        'Top-1, %': '40.0',
        'Top-5, %': '100.0',
        'macro Top-1, %': '44.4',
        'ECE, %': '38.0',
        'boxes': '5',
        'images': '3',
    }
    assert rows_of(page, 'In percent; scored') == [
        ['all', '3', '5', '40.0', '100.0', '44.4', '100.0'],
        ['animals', '2', '4', '25.0', '100.0', '16.7', '100.0'],
    ]
    assert rows_of(page, 'Side of a square')[0] == [
        *('8 to 16', '3', '66.7', '20.8 to 93.9')
    ]
    assert rows_of(page, 'The 2 most frequent of 2 pairs') == [
        ['cat', 'dog', '2', '66.7'],
        ['dog', 'a &lt;b&gt; &amp; &#34;c&#34;', '1', '100.0'],
    ]
    cat, _, sure = rows_of(page, 'Classes with boxes')
    assert cat[:4] == ['cat', 'animals', '3', '33.3']
    assert cat[5:] == ['100.0', 'dog (2)'] and sure[-1] == ''
    # one box a bin: scores .9 and 1 right; .4, .6 and .8 wrong
    bins = rows_of(page, 'In percent<')
    assert len(bins) == 15 and bins[0][1:] == ['0', '-', '-', '-']
    assert [row[1:] for row in bins if row[1] != '0'] == [
        ['1', '40.0', '0.0', '40.0'],
        ['1', '60.0', '0.0', '60.0'],
        ['1', '80.0', '0.0', '80.0'],
        ['1', '90.0', '100.0', '10.0'],
        ['1', '100.0', '100.0', '0.0'],
    ]


def test_all_right(records, tmp_path):
    records[2]['gt_instances']['labels'][:] = [2, 4]
    figures = BoxClsFigures(records[2:])
    write_page(tmp_path / 'a.html', figures, 'x')
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
    text = page.read_text(encoding='utf-8')
    clicked = tmp_path / 'clicked.html'
    clicked.write_text(
        text.replace('</body>', CLICKS + '</body>'), encoding='utf-8'
    )
    document = open_in_chromium(clicked.as_uri(), tmp_path / 'profile')
    said = re.search(r'<pre id="said">(.*?)</pre>', document, re.S)
    assert said, document[-2000:]
    assert said.group(1).split('\n') == [
        'cat|dog|sure',
        'dog|sure|cat',
        'cat|dog|sure',
        'descending',
        '1 of 3',
        '4 true',
    ]
