import base64
import io
import tarfile

import numpy as np
import pytest
from PIL import Image

from harmoclip_mm.evaluation.functional import measure_calibration
from harmoclip_mm.visualization import box_cls_report as charts
from harmoclip_mm.visualization.box_cls_figures import Share


def bars(container):
    """Lower and upper ends of bars."""
    return [(bar.get_y(), bar.get_y() + bar.get_height()) for bar in container]


def test_reliability_diagram(monkeypatch):
    """Bin (0, .5]: one right at .4; bin (.5, 1]: 2 of 3 right at .8."""
    monkeypatch.setattr(charts, '_save', lambda *axes: axes)
    correct = np.array([True, True, False, True])
    bins = measure_calibration([0.4, 0.7, 0.8, 0.9], correct, 2)
    axes = charts.reliability_chart(bins)
    accuracy, surer, less_sure = (bars(c) for c in axes[0].containers)
    two_thirds = pytest.approx(200 / 3)
    assert accuracy == [(0, 100), (0, two_thirds)]
    assert surer == [(100, 100), (two_thirds, pytest.approx(80))]
    assert less_sure == [(100, pytest.approx(40)), (two_thirds, two_thirds)]
    assert [bar.get_x() for bar in axes[0].containers[0]] == [0, 50]
    assert bars(axes[1].containers[0]) == [(0, 1), (0, 3)]
    # every colour is in the legend
    assert len(axes[0].get_legend_handles_labels()[1]) == 4


def test_sizes(monkeypatch):
    monkeypatch.setattr(charts, '_save', lambda *axes: axes)
    sizes = [Share('16 to 24', 1, 4), Share('24 to 32', 0, 0)]
    axes = charts.size_chart([*sizes, Share('from 32', 3, 3)])
    drawn, whiskers = axes[0].containers
    assert bars(drawn) == [(0, 25), (0, 0), (0, 100)]
    (segments,) = whiskers[2]
    ends = np.array([s[:, 1] for s in segments.get_segments()])
    interval = [100 * end for end in sizes[0].interval]
    assert ends[0] == pytest.approx(interval) and (ends[1] == 0).all()
    assert bars(axes[1].containers[0]) == [(0, 4), (0, 0), (0, 3)]
    names = [label.get_text() for label in axes[1].get_xticklabels()]
    assert names == ['16 to 24', '24 to 32', 'from 32']


def test_charts_are_pictures_that_equal_figures_make_equal():
    sizes = [Share('all', 1, 2)]
    head, code = charts.size_chart(sizes).split(',')
    assert head == 'data:image/svg+xml;base64'
    assert b'<svg' in base64.b64decode(code)
    assert charts.size_chart(sizes).split(',')[1] == code


@pytest.fixture
def photo(tmp_path):
    """Black, 200 x 100, with a blue box at (150, 20) to (190, 40)."""
    pixels = np.zeros((100, 200, 3), dtype=np.uint8)
    pixels[20:40, 150:190] = (0, 0, 255)
    path = tmp_path / 'photo.png'
    Image.fromarray(pixels).save(path)
    return str(path)


def decode(uri):
    head, code = uri.split(',')
    assert head == 'data:image/jpeg;base64'
    return np.asarray(Image.open(io.BytesIO(base64.b64decode(code))))


def test_box_with_its_surroundings(photo):
    """The cut is a square of 80 px, moved to stay in the image: x from 120,
    y from 0; at twice its size the box is at (60, 40) to (140, 80)."""
    picture = decode(charts.box_thumbnail(photo, (150, 20, 190, 40), 160))
    assert picture.shape == (160, 160, 3)
    inside = picture[46:74, 66:134]
    assert (inside[..., 2] > 200).all() and (inside[..., 0] < 60).all()
    outside = picture.copy()
    outside[34:86, 54:146] = 0
    assert outside.max() < 60
    frame = picture[60, 58:64].astype(int)  # vermilion and white
    assert (frame[:, 0] > 180).any()


def test_boxes_beyond_the_image(photo):
    whole = decode(charts.box_thumbnail(photo, (0, 0, 200, 100), 100))
    assert whole.shape == (50, 100, 3)
    # the nearest part
    outside = decode(charts.box_thumbnail(photo, (300, 10, 320, 30), 80))
    assert outside.shape[0] == 80


def test_a_photo_is_shown_as_it_is_stored(tmp_path):
    """Boxes are in px of the stored image, whatever its EXIF data say."""
    image = Image.new('RGB', (40, 20))
    exif = image.getexif()
    exif[0x0112] = 6  # turn by 90 degrees
    image.save(tmp_path / 'a.jpg', exif=exif)
    picture = charts.box_thumbnail(str(tmp_path / 'a.jpg'), (0, 0, 40, 20), 40)
    assert decode(picture).shape == (20, 40, 3)


def test_an_image_in_tars(photo, tmp_path):
    with tarfile.open(tmp_path / '0.tar', 'w') as tar:
        tar.add(photo, 'photo.png')
    path = f'{tmp_path}/{{0..0}}.tar/photo.png'
    box = (150, 20, 190, 40)
    assert charts.box_thumbnail(path, box) == charts.box_thumbnail(photo, box)


def test_no_picture(photo, tmp_path):
    text = tmp_path / 'text.png'
    text.write_text('text')
    for path in (str(tmp_path / 'none.png'), '', str(text)):
        assert charts.box_thumbnail(path, (0, 0, 9, 9)) is None
