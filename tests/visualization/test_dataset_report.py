import base64
import io
import re

import numpy as np
import pytest
from PIL import Image

from harmoclip_mm.datasets.figures import DatasetFigures, ModelInput
from harmoclip_mm.visualization import dataset_report
from harmoclip_mm.visualization.dataset_report import histogram, write_page
from harmoclip_mm.visualization.drawing import PALETTE

SAMPLES = [
    {
        'img_path': 'folder/a<1>.jpg',
        'text': 'A <dog> & a red car',
        'width': 200,
        'height': 100,
        'phrases': {
            0: {'phrase': '<dog>', 'tokens_positive': [[2, 7]]},
            1: {'phrase': 'wheel & tyre', 'tokens_positive': []},
        },
        'instances': [
            {'bbox': [0, 0, 100, 50], 'bbox_label': label}
            for label in (1, 0, 1)
        ],
    },
    {'img_path': 'gone.jpg', 'text': '', 'phrases': {}, 'instances': []},
]


def load_image(sample):
    if sample['img_path'] == 'gone.jpg':
        raise OSError('gone.jpg: no such file')
    return np.zeros((100, 200, 3), dtype=np.uint8)


@pytest.fixture
def page(tmp_path):
    figures = DatasetFigures(
        ModelInput((64, 64), False, 16, lambda text: True, 77)
    )
    for sample in SAMPLES:
        figures.add(sample)
    path = tmp_path / 'folder' / 'index.html'
    write_page(path, figures, SAMPLES, load_image, 'x <config>.py', total=9)
    assert [each.name for each in path.parent.iterdir()] == ['index.html']
    return path


def test_what_it_says(page, read_html):
    reader = read_html(page)
    text = ' '.join(''.join(reader.texts).split())
    for words in (
        '9 samples of x <config>.py; figures are of 2 of them',
        'The model sees them at 64 x 64 px.',
        '1 of the 2 images below cannot be read; the first: gone.jpg: no such',
        '67 % of the regions have the phrase "wheel & tyre"',
        '100 % of the captions (1) are cut',
        'gone.jpg, no caption, no box',
    ):
        assert words in text, words
    assert 'nan' not in text.lower() and '{{' not in text


def test_spans_have_the_colours_of_their_boxes(page):
    """Colours go by first use: the wheel is first, the dog second."""
    text = page.read_text(encoding='utf-8')
    assert 'alt="A &lt;dog&gt; &amp; a red car, 3 boxes"' in text
    (uri,) = re.findall(r'data:image/jpeg;base64,([^"]+)', text)
    picture = Image.open(io.BytesIO(base64.b64decode(uri))).convert('RGB')
    assert picture.width == 480 and picture.height > 240  # the caption
    box, below = np.asarray(picture)[:240], np.asarray(picture)[240:]
    wheel, dog = PALETTE[:2]
    for color in (wheel, dog):
        near = (np.abs(below.astype(int) - color).max(axis=2) < 30).sum()
        assert near > 20, color
    assert (np.abs(box.astype(int) - wheel).max(axis=2) < 30).sum() > 200


def test_its_figures(page):
    text = page.read_text(encoding='utf-8')
    tiles = dict(re.findall(r'<dt>(.*?)</dt><dd>(.*?)</dd></div>', text))
    assert tiles == {
        'samples': '2',
        'captions': '1',
        'boxes': '3',
        'distinct phrases': '2',
        'regions linked to a caption, %': '33.3',
        'boxes below a cell, %': '0.0',
        'captions cut, %': '100.0',
        'samples without a box': '1',
    }
    assert text.count('class="chart"') == 4


def test_a_set_without_boxes_and_captions(tmp_path, read_html):
    figures = DatasetFigures()
    figures.add(SAMPLES[1])
    path = tmp_path / 'a.html'
    write_page(path, figures, SAMPLES[1:], load_image, 'x', total=1)
    text = ' '.join(''.join(read_html(path).texts).split())
    assert 'No sample has a box' in text and 'There are none.' in text


@pytest.mark.parametrize(
    'shape, caption', [((4000, 2), 'a pole'), ((90, 9), 'word ' * 100000)]
)
def test_odd_samples_are_shown(tmp_path, shape, caption):
    """A strip of which nothing is left, a picture too high for a JPEG."""
    sample = dict(SAMPLES[1], text=caption)
    figures, path = DatasetFigures(), tmp_path / 'a.html'
    image = np.zeros((*shape, 3), dtype=np.uint8)
    write_page(path, figures, [sample], lambda _: image, 'x', total=1)
    assert path.read_text(encoding='utf-8').count('data:image/jpeg') == 1


@pytest.mark.parametrize(
    'values', [[0], [1, 1, 1], [3.5], list(range(500)), [0.0, 1e4]]
)
def test_every_value_is_in_the_histogram(monkeypatch, values):
    monkeypatch.setattr(dataset_report, 'svg_uri', lambda figure: figure)
    (axes,) = histogram(values, 'x', mark=16).axes
    assert sum(bar.get_height() for bar in axes.patches) == len(values)
    assert axes.get_xlabel() == 'x' and len(axes.lines) == 1
