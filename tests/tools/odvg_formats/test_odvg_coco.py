import json

import pytest

from harmoclip_mm.errors import DataError


@pytest.fixture
def coco(tmp_path):
    """Write a COCO file; annotations are (image, category, bbox, more)."""

    def write(rows, **lists):
        content = {
            'info': {'year': 2017},
            'annotations': [
                {'id': n, 'image_id': i, 'category_id': c, 'bbox': b, **more}
                for n, (i, c, b, more) in enumerate(rows)
            ],
            'images': [
                {'id': 5, 'file_name': 'b.jpg', 'width': 100, 'height': 80},
                {
                    'id': 3,
                    'coco_url': 'http://x.org/train2017/a.jpg',
                    'width': 60,
                    'height': 40,
                },
            ],
            'categories': [
                {'id': 9, 'name': 'bow_(weapon)'},
                {'id': 2, 'name': 'Dog'},
            ],
            **lists,
        }
        path = tmp_path / 'instances.json'
        path.write_text(json.dumps(content))
        return path

    return write


def instances(*pairs):
    return {'instances': [{'bbox': b, 'category': c} for b, c in pairs]}


def test_categories_are_phrases_in_the_order_of_images(coco, convert):
    source = coco(
        [
            (3, 2, [1, 2, 10.1, 20.2], {}),
            (5, 9, [90, 70, 50, 50], {}),  # reaches out
            (5, 2, [0, 0, 50, 50], {'iscrowd': 1}),
            (5, 2, [200, 0, 50, 50], {}),  # outside
            (5, 2, [-5, 3, 20, 0.5], {}),  # below 1 px
            (5, 2, [10, 10, 5, 5], {}),
            (3, 2, [1, 2, 3, 4], {'ignore': 1}),
            (77, 2, [1, 2, 3, 4], {}),
        ]
    )
    lines, tally = convert('coco', source)
    assert lines == [
        {
            'filename': 'b.jpg',
            'height': 80,
            'width': 100,
            'detection': instances(
                ([90.0, 70.0, 100, 80], 'bow (weapon)'),
                ([10.0, 10.0, 15.0, 15.0], 'dog'),
            ),
        },
        {
            'filename': 'train2017/a.jpg',
            'height': 40,
            'width': 60,
            'detection': instances(([1.0, 2.0, 11.1, 22.2], 'dog')),
        },
    ]
    assert tally.dropped == {
        'boxes of crowds or to be ignored': 2,
        'boxes outside of the image or below 1 px': 2,
        'boxes of images that are not listed': 1,
    }
    assert tally.written['boxes clipped'] == 1
    assert tally.first['boxes outside of the image or below 1 px'].endswith(
        'instances.json: image 5'
    )


def test_ids_of_one_hash_are_two(coco, convert):
    """Python's hash of -1 is that of -2."""
    box = [1, 1, 9, 9]
    source = coco([(5, 2, box, {'id': -1}), (5, 2, box, {'id': -2})])
    lines, _ = convert('coco', source)
    assert len(lines[0]['detection']['instances']) == 2


@pytest.mark.parametrize(
    'layout, box',
    [
        ('xywh', [10, 20, 40, 40]),
        ('xyxy', [10, 20, 50, 60]),
        ('relative-xywh', [0.1, 0.25, 0.4, 0.5]),
        ('relative-xyxy', [0.1, 0.25, 0.5, 0.75]),
        ('relative-cxcywh', [0.3, 0.5, 0.4, 0.5]),
    ],
)
def test_conventions_of_boxes(coco, convert, layout, box):
    source = coco([(5, 2, box, {})])
    lines, _ = convert('coco', source, '--boxes', layout)
    found = lines[0]['detection']['instances'][0]['bbox']
    assert found == [10, 20, 50, 60]


@pytest.mark.parametrize(
    'layout, boxes, reason',
    [
        (
            'xywh',
            [[10, 20, 40, 40], [0.1, 0.25, 0.4, 0.5]],
            'boxes within 0..1, as if relative',
        ),
        (
            'relative-xywh',
            [[0.1, 0.25, 0.4, 0.5], [10, 20, 40, 40]],
            'boxes beyond 0..1, as if in px',
        ),
    ],
)
def test_mixed_conventions_are_counted(coco, convert, layout, boxes, reason):
    source = coco([(5, 2, box, {}) for box in boxes])
    lines, tally = convert('coco', source, '--boxes', layout)
    assert len(lines[0]['detection']['instances']) == 1
    assert tally.dropped == {reason: 1}


@pytest.mark.parametrize(
    'image, box, more, reason',
    [
        (5, [0.1, 0.25, 0.4, 0.5], {}, 'relative: 3'),
        (5, [10, 20, 40, 40], {'iscrowd': 1}, 'ignored: 3'),
        (77, [10, 20, 40, 40], {}, 'not listed: 3'),
    ],
)
def test_nothing_left_is_an_error_with_the_reason(
    coco, convert, tmp_path, image, box, more, reason
):
    source = coco([(image, 2, box, more)] * 3)
    with pytest.raises(DataError, match=f'none of its 3 boxes .* {reason}'):
        convert('coco', source)
    assert not list((tmp_path / 'out').iterdir())


@pytest.mark.parametrize(
    'lists, words',
    [
        ({'categories': []}, 'needs the lists'),
        (
            {'images': [{'id': 5, 'width': 3, 'height': 3}]},
            r"images \(id 5\): 'file_name' is missing",
        ),
        (
            {
                'images': [
                    {'id': 5, 'file_name': name, 'width': 9, 'height': 9}
                    for name in 'ab'
                ]
            },
            'image id 5 stands for a and b',
        ),
        (
            {
                'annotations': [
                    {'id': 8, 'image_id': 5, 'category_id': 2, 'bbox': [1] * 4}
                ]
                * 2
            },
            r'annotations\[.\] and annotations\[.\] have the same id',
        ),
        ({'images': [{'id': 5, 'file_name': 'b.jpg'}]}, 'width'),
        ({'categories': [{'id': 1, 'name': 'x'}]}, 'category 2'),
        (
            {'categories': [{'id': 2, 'name': name} for name in 'xy']},
            "category id 2 stands for 'x' and 'y'",
        ),
        ({'annotations': [{'id': 8, 'image_id': 5}]}, 'id 8.*category_id'),
    ],
)
def test_files_that_are_none(coco, convert, lists, words):
    source = coco([(5, 2, [10, 20, 40, 40], {})], **lists)
    with pytest.raises(DataError, match=words) as caught:
        convert('coco', source)
    assert 'instances.json' in str(caught.value)


def test_images_without_boxes_stay(coco, convert):
    lines, tally = convert('coco', coco([]))
    assert [line['detection'] for line in lines] == [instances()] * 2
    assert not tally.dropped


def test_lines_without_their_image_are_dropped(coco, convert, image, tmp_path):
    image('images/train2017/a.jpg', 60, 40)
    source = coco([(5, 2, [10, 20, 40, 40], {}), (3, 2, [1, 1, 9, 9], {})])
    lines, tally = convert('coco', source, '--images', tmp_path / 'images')
    assert [line['filename'] for line in lines] == ['train2017/a.jpg']
    assert tally.dropped == {'lines whose image is missing': 1}
    assert (
        tally.written['boxes'] == tally.written['regions of a category'] == 1
    )


def test_real_annotations_as_pycocotools_has_them(coco_photos, convert):
    from pycocotools.coco import COCO

    path = coco_photos / 'annotations' / 'instances_train2017.json'
    images = coco_photos / 'train2017'
    lines, _ = convert('coco', path, '--images', images)
    coco = COCO(str(path))
    assert len(lines) == len(coco.imgs)
    for info, line in zip(coco.imgs.values(), lines):
        assert line['filename'] == info['file_name']
        truth = coco.loadAnns(coco.getAnnIds([info['id']], iscrowd=False))
        found = line['detection']['instances']
        assert len(found) == len(truth)
        for box, item in zip(found, truth):
            x, y, w, h = item['bbox']
            assert box['bbox'] == pytest.approx([x, y, x + w, y + h], abs=0.01)
            assert box['category'] == coco.cats[item['category_id']]['name']


def test_the_bar_ends_at_its_end(coco, convert, capsys):
    convert('coco', coco([(3, 2, [1, 2, 10, 20], {})]))
    assert '100%' in capsys.readouterr().err
