import json
import pickle

import cv2
import mmcv.transforms
import numpy as np
import pytest
from PIL import Image

from harmoclip_mm.datasets.transforms import (
    BadImageError,
    LoadCaptions,
    LoadCheckedImage,
)
from harmoclip_mm.errors import DataError
from harmoclip_mm.registry import TRANSFORMS


def test_it_loads_what_opencv_does(harmoclip_scope, tiny_data):
    path = str(tiny_data.image('a.png'))
    load = TRANSFORMS.build({'type': 'LoadCheckedImage'})
    assert type(load) is LoadCheckedImage
    known = TRANSFORMS.build({'type': 'LoadImageFromFile'})
    assert type(known) is mmcv.transforms.LoadImageFromFile
    results = load({'img_path': path})
    assert np.array_equal(results['img'], cv2.imread(path))
    assert results['img'].flags.c_contiguous
    assert results['img_shape'] == results['ori_shape'] == (48, 64)
    as_float = LoadCheckedImage(to_float32=True)({'img_path': path})['img']
    assert as_float.dtype == np.float32


@pytest.mark.parametrize(
    'color_type, reduced',
    [
        ('color', False),
        ('color_ignore_orientation', False),
        ('color_ignore_orientation', True),
    ],
)
@pytest.mark.parametrize(
    'mode', ['1', 'L', 'LA', 'P', 'RGBA', 'I', 'I;16', 'F', 'CMYK', 'YCbCr']
)
def test_an_image_of_any_mode(tmp_path, mode, reduced, color_type):
    """As open_clip sees it, which leaves transparency out."""
    pixels = np.random.default_rng(0).integers(0, 256, (40, 48, 4), np.uint8)
    image = Image.fromarray(pixels, 'RGBA')
    if mode == 'I;16':
        image = Image.fromarray(pixels[..., 0].astype(np.uint16))
    elif mode == 'LA':
        image = Image.fromarray(pixels[..., :2], 'LA')
    elif mode != 'RGBA':
        image = image.convert('RGB').convert(mode)
    suffix = {'CMYK': 'jpg', 'YCbCr': 'jpg', 'I': 'tif', 'F': 'tif'}
    path = str(tmp_path / f'a.{suffix.get(mode, "png")}')
    image.save(path)
    load = LoadCheckedImage(color_type=color_type, reduced=reduced)
    load.least_size = (40, 48) if reduced else None
    expected = np.asarray(Image.open(path).convert('RGB'))[..., ::-1]
    assert expected.std() > 30
    assert np.array_equal(load({'img_path': path})['img'], expected)


@pytest.mark.parametrize(
    'dtype, factor',
    [('uint16', 257), ('int32', 300), ('int32', -1), ('float32', 1 / 255)],
)
def test_pixels_that_are_not_of_8_bits_are_refused(tmp_path, dtype, factor):
    """Pillow makes them white or black."""
    pixels = np.arange(256).reshape(16, 16) * factor
    path = str(tmp_path / 'a.tif')
    Image.fromarray(pixels.astype(dtype)).save(path)
    with pytest.raises(BadImageError, match=r'a\.tif: its pixels .* 8 bits'):
        LoadCheckedImage()({'img_path': path})


@pytest.mark.parametrize('suffix', ['jpg', 'png'])
@pytest.mark.parametrize('share', [0.05, 0.5, 0.99])
def test_an_image_that_is_cut_off_is_refused(tiny_data, suffix, share):
    path = tiny_data.image(f'a.{suffix}')
    content = path.read_bytes()
    path.write_bytes(content[: int(len(content) * share)])
    with pytest.raises(BadImageError, match='cannot be decoded') as error:
        LoadCheckedImage()({'img_path': str(path)})
    assert str(path) in str(error.value)


@pytest.mark.parametrize('suffix', ['jpg', 'png', 'bmp', 'webp'])
def test_bytes_appended_to_an_image_do_no_harm(tiny_data, suffix):
    path = tiny_data.image(f'a.{suffix}')
    before = LoadCheckedImage()({'img_path': str(path)})['img']
    path.write_bytes(path.read_bytes() + b'\0' * 100 + b'a phone wrote this')
    after = LoadCheckedImage()({'img_path': str(path)})['img']
    assert np.array_equal(before, after)


def test_an_image_of_another_size_than_annotated_is_refused(tiny_data):
    path = str(tiny_data.image('a.png', width=64, height=48))
    sample = {'img_path': path, 'width': 64, 'height': 48}
    LoadCheckedImage()(dict(sample))
    with pytest.raises(BadImageError, match=r'64 x 48 px, but .* 32 x 48 px'):
        LoadCheckedImage()({**sample, 'width': 32})


def test_a_photo_that_exif_data_turns(tiny_data):
    path = tiny_data.root / 'turned.jpg'
    exif = Image.Exif()
    exif[0x0112] = 6  # Orientation: turn by 90 degrees
    Image.new('RGB', (64, 48)).save(path, exif=exif)
    sample = {'img_path': str(path), 'width': 64, 'height': 48}
    assert LoadCheckedImage()(dict(sample))['img_shape'] == (48, 64)
    sample.update(width=48, height=64)  # annotated as viewers show it
    with pytest.raises(BadImageError, match="color_type='color'"):
        LoadCheckedImage()(dict(sample))
    load = LoadCheckedImage(color_type='color')
    assert load(dict(sample))['img_shape'] == (64, 48)


@pytest.fixture
def shaded(tmp_path):
    """A smooth picture of 640 x 480 px, in the format of its name."""

    def write(name, mode='RGB'):
        rows, columns = np.mgrid[0:480, 0:640]
        pixels = np.stack([rows // 2, columns // 3, (rows + columns) // 5], -1)
        image = Image.fromarray(pixels.astype(np.uint8)).convert(mode)
        image.save(tmp_path / name, quality=95)
        return str(tmp_path / name)

    return write


@pytest.mark.parametrize(
    'least, shape',
    [
        ((224, 224), (240, 320)),
        ((240, 320), (240, 320)),
        ((241, 224), (480, 640)),
        ((100, 160), (120, 160)),
        ((10, 10), (60, 80)),
    ],
)
@pytest.mark.parametrize('mode', ['RGB', 'L', 'CMYK'])
def test_a_jpeg_is_decoded_at_the_smallest_scale_that_suffices(
    shaded, least, shape, mode
):
    sample = {
        'img_path': shaded('a.jpg', mode),
        'height': 480,
        'width': 640,
        'instances': [{'bbox': [64, 48, 320, 240], 'bbox_label': 3}],
    }
    full = LoadCheckedImage()(dict(sample))['img']
    load = LoadCheckedImage(reduced=True)
    load.least_size = least
    results = load(dict(sample))
    assert results['img'].shape == (*shape, 3)
    assert results['img_shape'] == shape
    assert results['ori_shape'] == (480, 640)
    ratio = shape[0] / 480
    box = np.multiply([64, 48, 320, 240], ratio).tolist()
    assert results['instances'] == [{'bbox': box, 'bbox_label': 3}]
    if ratio < 1:
        assert results['scale_factor'] == (ratio, ratio)
    # the same picture, in the same order of channels
    small = cv2.resize(full, shape[::-1], interpolation=cv2.INTER_AREA)
    assert np.abs(small.astype(int) - results['img']).max() <= 4


def test_what_cannot_be_reduced_is_decoded_whole(shaded, tiny_data):
    load = LoadCheckedImage(reduced=True)
    load.least_size = 32, 32
    for path in (shaded('a.png'), str(tiny_data.image('b.jpg', 63, 63))):
        results = load({'img_path': path})
        assert np.array_equal(
            results['img'], LoadCheckedImage()({'img_path': path})['img']
        )
        assert 'scale_factor' not in results
    with pytest.raises(ValueError, match='knows no color_type'):
        LoadCheckedImage(reduced=True, color_type='grayscale')
    path = shaded('cut.jpg')
    with open(path, 'rb+') as file:
        file.truncate(9000)
    with pytest.raises(BadImageError, match=r'cut\.jpg.*cannot be decoded'):
        load({'img_path': path})


def test_the_error_travels_between_processes():
    error = pickle.loads(pickle.dumps(BadImageError('a.jpg: missing')))
    assert isinstance(error, BadImageError) and 'a.jpg' in str(error)


def test_load_captions(tmp_path):
    path = tmp_path / 'captions.json'
    pairs = [(7, 'one'), (9, 'other'), (7, 'two'), (7, 'three')]
    annotations = [{'image_id': i, 'caption': c} for i, c in pairs]
    images = [{'id': i, 'file_name': f'{i}.jpg'} for i in (7, 8, 9)]
    content = {'images': images, 'annotations': annotations}
    path.write_text(json.dumps(content))
    load = LoadCaptions(str(path))
    assert load({'img_id': 7})['captions'] == ['one', 'two', 'three']
    assert load({'img_id': 8})['captions'] == []
    with pytest.raises(
        ValueError,
        match=r'image 6 \(6.jpg\) is not in .*captions.json.* 3 images',
    ):
        load({'img_id': 6, 'img_path': '6.jpg'})
    two = pickle.loads(pickle.dumps(LoadCaptions(str(path), max_captions=2)))
    assert two({'img_id': 7})['captions'] == ['one', 'two']
    # Read once a process: a sample cannot change the next one's captions.
    load({'img_id': 7})['captions'].append('my own')
    path.unlink()
    assert len(load({'img_id': 7})['captions']) == 3


def test_bad_caption_files(tmp_path):
    with pytest.raises(DataError, match=r'^\S+none\.json cannot be read .No'):
        LoadCaptions(str(tmp_path / 'none.json'))({'img_id': 1})
    for i, content in enumerate(('{}', '[1]', 'no json')):
        path = tmp_path / f'{i}.json'
        path.write_text(content)
        with pytest.raises(ValueError, match=f'{i}.json is not '):
            LoadCaptions(str(path))({'img_id': 1})
