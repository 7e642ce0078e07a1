import numpy as np

from harmoclip_mm.visualization.drawing import (
    RIGHT_COLOR,
    WRONG_COLOR,
    load_font,
    stack_horizontally,
)
from harmoclip_mm.visualization.prediction_list import (
    RIGHT_SIGN,
    WRONG_SIGN,
    BoxGuess,
    draw_prediction_list,
    percent,
)


def has(image, color):
    return (image == color).all(2).any()


def guess(truth=None, color=(1, 2, 3), names=('cat', 'dog', 'cow')):
    return BoxGuess(names, [0.6, 0.3, 0.001], color, truth)


def test_right_wrong_and_unknown():
    assert guess('cat').right is True
    assert guess('dog').right is False
    assert guess().right is None
    # as many pixels of the box's colour as its bars are long
    picture = draw_prediction_list([guess('horse', WRONG_COLOR)], 100)
    assert has(picture, WRONG_COLOR) and not has(picture, RIGHT_COLOR)
    # the true class is marked among the others
    picture = draw_prediction_list([guess('dog', WRONG_COLOR)], 100)
    assert has(picture, RIGHT_COLOR)


def test_bars_are_as_long_as_the_probabilities():
    picture = draw_prediction_list([guess()], 100)
    runs = (picture == (1, 2, 3)).all(2).sum(axis=1)
    first, second = sorted(set(runs[20:].tolist()))[-1:-3:-1]
    assert abs(first / second - 2) < 0.05  # 60 % and 30 %


def test_further_boxes_go_into_columns():
    one = draw_prediction_list([guess()], 220)
    assert one.shape[0] == 220
    assert draw_prediction_list([guess()] * 2, 220).shape == one.shape
    five = draw_prediction_list([guess()] * 5, 220)
    assert five.shape == (220, 3 * one.shape[1], 3)
    # one box alone needs more than the picture beside it has
    assert draw_prediction_list([guess()], 20).shape[0] > 60


def test_long_names_are_cut():
    names = ['x' * 300, 'a', 'b']
    picture = draw_prediction_list([guess('y' * 300, names=names)], 100)
    assert picture.shape == draw_prediction_list([guess()], 100).shape
    assert (picture[:, -10:] == 255).all()  # nothing runs into the margin


def test_percent():
    shown = [percent(score) for score in (0.0, 0.004, 0.006, 0.625, 1.0)]
    assert shown == ['0 %', '< 1 %', '1 %', '62 %', '100 %']


def test_signs_are_in_the_font():
    absent = load_font(20).getmask('\uffff')
    for sign in (RIGHT_SIGN, WRONG_SIGN):
        assert bytes(load_font(20).getmask(sign)) != bytes(absent)


def test_stack_horizontally():
    black = np.zeros((2, 3, 3), dtype=np.uint8)
    stacked = stack_horizontally(black, np.zeros((4, 1, 3), dtype=np.uint8))
    assert stacked.shape == (4, 4, 3)
    assert (stacked[2:, :3] == 255).all() and (stacked[:2] == 0).all()
