import numpy as np
import pytest

from harmoclip_mm.visualization.drawing import (
    PALETTE,
    RIGHT_COLOR,
    draw_regions,
    draw_text,
)

GREY = np.full((200, 300, 3), 128, dtype=np.uint8)


def pixels_of(image, color):
    return np.argwhere((image == color).all(2))


def test_a_box_is_drawn_on_its_edges():
    before = GREY.copy()
    drawn = draw_regions(GREY, [(50, 60, 150, 140)], [''], [RIGHT_COLOR])
    assert np.array_equal(GREY, before)  # the input is left alone
    found = pixels_of(drawn, RIGHT_COLOR)
    # Rows 60 to 139 and columns 50 to 149: the ends are exclusive.
    assert found.min(0).tolist() == [60, 50]
    assert found.max(0).tolist() == [139, 149]
    assert (drawn[70:130, 60:140] == 128).all()  # the inside stays free
    changed = np.argwhere((drawn != GREY).any(2))
    assert changed.min(0).tolist() == [60, 50]


def test_boxes_are_scaled_to_the_picture():
    drawn = draw_regions(
        GREY, [(10, 20, 20, 30)], [''], [RIGHT_COLOR], scale=3.0
    )
    found = pixels_of(drawn, RIGHT_COLOR)
    assert found.min(0).tolist() == [60, 30]
    assert found.max(0).tolist() == [89, 59]


@pytest.mark.parametrize('box', [(0, 0, 40, 30), (260, 170, 300, 200)])
def test_tags_stay_inside_the_picture(box):
    bare = draw_regions(GREY, [box], [''], [RIGHT_COLOR])
    tagged = draw_regions(GREY, [box], ['red star'], [RIGHT_COLOR])
    assert tagged.shape == GREY.shape
    # The tag is a filled area, far more than the outline alone.
    more = len(pixels_of(tagged, RIGHT_COLOR)) > 500
    assert more and len(pixels_of(bare, RIGHT_COLOR)) < 400


def test_tags_of_neighbours_do_not_hide_each_other():
    boxes = [(100, 100, 140, 140), (102, 102, 142, 142)]
    colors = PALETTE[:2]
    both = draw_regions(GREY, boxes, ['first one', 'second one'], colors)
    for box, color, text in zip(boxes, colors, ('first one', 'second one')):
        alone = draw_regions(GREY, [box], [text], [color])
        shown = len(pixels_of(both, color))
        assert shown > 0.7 * len(pixels_of(alone, color))


def test_no_boxes():
    assert np.array_equal(draw_regions(GREY, [], []), GREY)
    empty = np.zeros((0, 4))
    assert np.array_equal(draw_regions(GREY, empty, []), GREY)


def test_long_tags_and_line_feeds():
    drawn = draw_regions(GREY, [(10, 50, 90, 90)], ['two\nlines ' * 40])
    assert drawn.shape == GREY.shape
    assert len(pixels_of(drawn, PALETTE[0])) > 0.8 * 16 * 300


def text(words, width, **kwargs):
    return draw_text(words, width, 14, **kwargs)


def test_spans_are_marked_in_their_colours():
    red, blue = PALETTE[:2]
    caption = 'a red star and a blue ring'
    strip = text(caption, 600, spans=[(2, 10, red), (17, 26, blue)])
    assert strip.shape[1:] == (600, 3) and strip.dtype == np.uint8
    first, second = pixels_of(strip, red), pixels_of(strip, blue)
    assert len(first) and len(second)
    # In the order of the text, on one line, without touching.
    assert first[:, 1].max() < second[:, 1].min()
    assert not len(pixels_of(text(caption, 600), red))


def test_long_texts_are_broken_between_words():
    words = ' '.join(['word'] * 60)
    narrow = text(words, 200)
    assert narrow.shape[0] > 2 * text(words, 1200).shape[0]
    assert (narrow[:, -3:] == 255).all()  # nothing runs over the margin
    # A span across a line break is marked on both lines.
    strip = text(words, 200, spans=[(0, len(words), PALETTE[0])])
    rows = pixels_of(strip, PALETTE[0])[:, 0]
    assert rows.max() - rows.min() > narrow.shape[0] / 2


def test_words_longer_than_a_row_are_broken_too():
    narrow = text('x' * 300, 200)
    assert narrow.shape[0] > 5 * text('x', 200).shape[0]
    assert (narrow[:, -3:] == 255).all()
    assert text('wide', 1).shape[1] == 1  # whatever it looks like, it ends


def test_line_feeds_begin_rows():
    one = text('a', 200).shape[0]
    assert text('a\nb\n', 200).shape == text('a b c' * 10, 200).shape
    assert text('a\tb\r\u2028c', 200).shape[0] == one
