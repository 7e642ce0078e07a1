import base64
import io

import numpy as np
import pytest
from PIL import Image

from harmoclip_mm.visualization.box_cls_report.thumbnails import box_thumbnail


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
    picture = decode(box_thumbnail(photo, (150, 20, 190, 40), side=160))
    assert picture.shape == (160, 160, 3)
    inside = picture[46:74, 66:134]
    assert (inside[..., 2] > 200).all() and (inside[..., 0] < 60).all()
    outside = picture.copy()
    outside[34:86, 54:146] = 0
    assert outside.max() < 60
    frame = picture[60, 58:64].astype(int)  # vermilion and white
    assert (frame[:, 0] > 180).any()


def test_a_box_larger_than_the_image(photo):
    picture = decode(box_thumbnail(photo, (0, 0, 200, 100), side=100))
    assert picture.shape == (50, 100, 3)


def test_no_picture(photo, tmp_path):
    assert box_thumbnail(str(tmp_path / 'none.png'), (0, 0, 9, 9)) is None
    assert box_thumbnail('', (0, 0, 9, 9)) is None
    (tmp_path / 'text.png').write_text('text')
    assert box_thumbnail(str(tmp_path / 'text.png'), (0, 0, 9, 9)) is None


def test_a_box_outside_the_image_shows_the_nearest_part(photo):
    picture = decode(box_thumbnail(photo, (300, 10, 320, 30), side=80))
    assert picture.shape[0] == 80
