import pytest
from PIL import Image

from harmoclip_mm.errors import DataError

NAMES = (
    'train: images/train\nval: images/val\nnames:\n  0: red car\n  1: dog\n'
)


def box(*numbers, category, **more):
    return {'bbox': list(numbers), 'category': category, **more}


@pytest.fixture
def labels(tmp_path):
    def write(name, text):
        path = tmp_path / 'labels' / 'train' / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(text)

    return write


def test_boxes_polygons_and_backgrounds(convert, image, labels, tmp_path):
    # BOM and CRLF, as editors of Windows leave them
    text = b'\xef\xbb\xbf' + NAMES.replace('\n', '\r\n').encode()
    (tmp_path / 'data.yaml').write_bytes(text)
    for name in ('a.jpg', 'b.png', 'c.jpg'):
        image(f'images/train/{name}', 200, 100)
    labels(
        'a.txt',
        b'\xef\xbb\xbf0 0.5 0.5 0.5 0.5\r\n'
        b'1 0.1 0.2 0.1 0.8 0.3 0.8 0.3 0.2\r\n\r\n'  # a polygon
        b'1 0.05 0.5 0.2 0.2 0.75\r\n',  # reaches out; with a confidence
    )
    labels('b.txt', b'')
    image('images/train/broken.jpg', 9, 9).write_bytes(b'no image')
    exif = Image.Exif()
    exif[0x0112] = 6
    image('images/train/turned.jpg', 9, 9, exif=exif)
    lines, tally = convert('yolo', tmp_path)
    assert lines == [
        {
            'filename': f'images/train/{name}',
            'height': 100,
            'width': 200,
            'detection': {'instances': instances},
        }
        for name, instances in (
            (
                'a.jpg',
                [
                    box(50, 25, 150, 75, category='red car'),
                    box(20, 20, 60, 80, category='dog'),
                    box(0, 40, 30, 60, category='dog', score=0.75),
                ],
            ),
            ('b.png', []),
            ('c.jpg', []),
        )
    ]
    assert tally.dropped == {
        'images that cannot be read': 1,
        'images that EXIF data turns': 1,
    }
    assert tally.read['images without a label file'] == 1
    assert tally.written['boxes'] == 3
    assert tally.written['boxes clipped'] == 1


def test_classes_txt_and_other_images_folder(convert, image, labels, tmp_path):
    image('images/train/a.jpg', 200, 100)
    labels('a.txt', b'1 0.5 0.5 0.5 0.5\n')
    (tmp_path / 'classes.txt').write_bytes(b'cat\r\ndog\r\n')
    lines, _ = convert(
        'yolo', tmp_path, '--images', tmp_path / 'images' / 'train'
    )
    assert lines[0]['filename'] == 'a.jpg'
    assert lines[0]['detection']['instances'][0]['category'] == 'dog'


def test_a_blank_line_of_classes_txt_is_a_class(
    convert, image, labels, tmp_path
):
    image('images/train/a.jpg', 200, 100)
    labels('a.txt', b'2 0.5 0.5 0.5 0.5\n')
    (tmp_path / 'classes.txt').write_text('cat\n\ndog\n')
    lines, _ = convert('yolo', tmp_path)
    assert lines[0]['detection']['instances'][0]['category'] == 'dog'


def test_a_split_that_is_not_there_is_not_all_of_them(
    convert, image, tmp_path
):
    (tmp_path / 'classes.txt').write_text('cat\n')
    image('images/a.jpg', 200, 100)
    assert len(convert('yolo', tmp_path)[0]) == 1  # without splits
    image('images/train/b.jpg', 200, 100)
    image('images/val/c.jpg', 200, 100)
    with pytest.raises(DataError, match='images/test is missing'):
        convert('yolo', tmp_path, '--split', 'test')
    assert len(convert('yolo', tmp_path, '--split', '.')[0]) == 3


def test_keypoints_are_no_polygons(convert, image, labels, tmp_path):
    (tmp_path / 'data.yaml').write_text(NAMES + 'kpt_shape: [4, 3]\n')
    image('images/train/a.jpg', 200, 100)
    labels('a.txt', b'0 0.5 0.5 0.2 0.2' + b' 0.5 0.5 2' * 4)
    with pytest.raises(DataError, match='keypoints'):
        convert('yolo', tmp_path)


def test_an_export_whose_paths_begin_a_folder_too_high(
    convert, image, tmp_path
):
    image('set/train/images/a.jpg', 200, 100)
    (tmp_path / 'set/train/labels').mkdir()
    (tmp_path / 'set/train/labels/a.txt').write_text('0 0.5 0.5 0.5 0.5\n')
    text = "train: ../train/images\nnames: ['Traffic_light']\n"
    (tmp_path / 'set/data.yaml').write_text(text)
    lines, _ = convert('yolo', tmp_path / 'set' / 'data.yaml')
    assert lines[0]['filename'] == 'train/images/a.jpg'
    (instance,) = lines[0]['detection']['instances']
    assert instance['category'] == 'traffic light'


@pytest.mark.parametrize(
    'text, words',
    [
        (b'7 0.5 0.5 0.5 0.5', r'a\.txt:1: class 7 is none of the 2'),
        (b'0 0.5 0.5 0.5 0.5\n0 0.5', r'a\.txt:2: a line is "class'),
        (
            b'dog 0.5 0.5 0.5 0.5',
            r'a\.txt:1 is not as in yolo: could not',
        ),
        (b'0 50 50 100 50', 'none of its 1 boxes .* as if in px'),
    ],
)
def test_bad_labels(convert, image, labels, tmp_path, text, words):
    (tmp_path / 'data.yaml').write_text(NAMES)
    image('images/train/a.jpg', 200, 100)
    labels('a.txt', text)
    with pytest.raises(DataError, match=words):
        convert('yolo', tmp_path)


@pytest.mark.parametrize(
    'text, words',
    [
        ('names: cat\n', '"names" must be a list, .* not \'cat\''),
        ('names: 5\n', '"names" must be a list, .* not 5'),
        ('names: {a: cat}\n', "class 'a' of .* is no number"),
        ('names: [yes, cat]\n', 'class 0 is True to YAML.* quotes'),
        ('names: [cat, ~]\n', 'class 1 is None to YAML.* quotes'),
        ('names: [1.5]\n', 'class 0 is 1.5 to YAML.* quotes'),
        ('names:\n', "'names' is missing"),
        ('names: [a]\npath: 5\n', "'path' must be a text, not 5"),
        ('names: [a]\ntrain:\n', "'train' is missing"),
        ('names: [a]\ntrain: 5\n', r'train: .* list of texts .* \[5\]'),
        ('names: [a]\ntrain: [b, 5]\n', r"train: .* not \['b', 5\]"),
        ('- names\n', 'must be an object'),
        ('', 'must be an object'),
    ],
)
def test_what_data_yaml_may_not_say(convert, image, tmp_path, text, words):
    image('images/train/a.jpg', 200, 100)
    (tmp_path / 'data.yaml').write_text(f'train: images/train\n{text}')
    if 'object' in words:
        (tmp_path / 'data.yaml').write_text(text)
    with pytest.raises(DataError, match=words) as caught:
        convert('yolo', tmp_path)
    assert 'data.yaml' in str(caught.value)


def test_names_may_be_numbers(convert, image, labels, tmp_path):
    image('images/train/a.jpg', 200, 100)
    labels('a.txt', b'3 0.5 0.5 0.5 0.5')
    text = "path:\ntrain: [images/train]\nnames: {'3': 7, 4: yes_}\n"
    (tmp_path / 'data.yaml').write_text(text)
    lines, _ = convert('yolo', tmp_path)
    assert lines[0]['detection']['instances'][0]['category'] == '7'


def test_wrong_layouts(convert, tmp_path):
    with pytest.raises(DataError, match='the classes have no names'):
        convert('yolo', tmp_path)
    (tmp_path / 'data.yaml').write_text(NAMES)
    with pytest.raises(DataError, match=r'train is missing: it should hold'):
        convert('yolo', tmp_path)
    with pytest.raises(DataError, match=r'"test" \(--split\)'):
        convert('yolo', tmp_path, '--split', 'test')
    with pytest.raises(DataError, match=r'nowhere is missing'):
        convert('yolo', tmp_path / 'nowhere')
