import numpy as np
import pytest
from mmdet.structures.bbox import HorizontalBoxes

from harmoclip_mm.datasets.transforms import TextAwareRandomFlip
from harmoclip_mm.datasets.transforms.flip import mentions_sides


@pytest.mark.parametrize(
    'text',
    [
        'the dog on the left',
        'RIGHT of the car',
        'the leftmost cup',
        'a right-hand drive car',
        'she turns rightwards.',
        'right_hand',
        'upper_left',
        'on the leftside',
    ],
)
def test_texts_with_sides(text):
    assert mentions_sides(text)


@pytest.mark.parametrize(
    'text',
    ['a bright cleft', 'leftover pizza', 'copyright sign', 'birth_right1', ''],
)
def test_texts_without_sides(text):
    assert not mentions_sides(text)


def sample(**texts):
    image = np.arange(2 * 4 * 3, dtype=np.uint8).reshape(2, 4, 3)
    boxes = HorizontalBoxes(np.array([[0, 0, 1, 2]], dtype=np.float32))
    return {'img': image, 'img_shape': (2, 4), 'gt_bboxes': boxes, **texts}


def test_a_flip_turns_image_and_boxes():
    before = sample()
    after = TextAwareRandomFlip(prob=1.0)(
        sample(text='a dog', phrases={0: {'phrase': 'dog'}})
    )
    assert np.array_equal(after['img'], before['img'][:, ::-1])
    assert after['gt_bboxes'].tensor.tolist() == [[3, 0, 4, 2]]
    assert after['flip'] is True and after['flip_direction'] == 'horizontal'


@pytest.mark.parametrize(
    'texts',
    [
        {'text': 'a dog left of a cat', 'phrases': {0: {'phrase': 'dog'}}},
        {'text': 'a dog', 'phrases': {0: {'phrase': 'the right dog'}}},
        {'captions': ['two dogs', 'Left: a dog']},
    ],
)
def test_texts_about_sides_forbid_it(texts):
    for _ in range(5):
        after = TextAwareRandomFlip(prob=1.0)(sample(**texts))
        assert np.array_equal(after['img'], sample()['img'])
        assert after['gt_bboxes'].tensor.tolist() == [[0, 0, 1, 2]]
        assert after['flip'] is False and after['flip_direction'] is None


def test_probability_zero_never_flips():
    after = TextAwareRandomFlip(prob=0.0)(sample(text='a dog'))
    assert after['flip'] is False
