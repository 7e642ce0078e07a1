import numpy as np
import pytest

from harmoclip_mm.visualization.drawing import (
    PALETTE,
    RIGHT_COLOR,
    draw_caption,
    draw_regions,
    enlarge,
    phrase_colors,
    stack_vertically,
)

GREY = np.full((200, 300, 3), 128, dtype=np.uint8)


def pixels_of(image, color):
    return np.argwhere((image == color).all(2))


def test_palette_repeats():
    assert phrase_colors(12) == [*PALETTE, *PALETTE[:2]]
    assert len(set(PALETTE)) == len(PALETTE)


def test_small_pictures_grow_by_whole_factors():
    assert enlarge(GREY[:80, :80], 480).shape == (480, 480, 3)
    assert enlarge(GREY, 480).shape == (400, 600, 3)
    assert enlarge(GREY, 100) is GREY


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
        GREY, [(10, 10, 20, 20)], [''], [RIGHT_COLOR], scale=(3.0, 2.0)
    )
    found = pixels_of(drawn, RIGHT_COLOR)
    assert found.min(0).tolist() == [20, 30]
    assert found.max(0).tolist() == [39, 59]


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


def test_numbers_must_agree():
    with pytest.raises(ValueError, match='2 boxes, 1 texts and 2 colours'):
        draw_regions(GREY, [(0, 0, 9, 9)] * 2, ['a'])


def test_no_boxes():
    assert np.array_equal(draw_regions(GREY, [], []), GREY)
    empty = np.zeros((0, 4))
    assert np.array_equal(draw_regions(GREY, empty, []), GREY)


def test_caption_marks_its_spans_in_their_colours():
    red, blue = PALETTE[:2]
    caption = 'a red star and a blue ring'
    strip = draw_caption(caption, 600, [(2, 10, red), (17, 26, blue)])
    assert strip.shape[1:] == (600, 3) and strip.dtype == np.uint8
    first, second = pixels_of(strip, red), pixels_of(strip, blue)
    assert len(first) and len(second)
    # In the order of the text, on one line, without touching.
    assert first[:, 1].max() < second[:, 1].min()
    assert not len(pixels_of(draw_caption(caption, 600), red))


def test_long_captions_are_broken_between_words():
    words = ' '.join(['word'] * 60)
    narrow = draw_caption(words, 200, font_size=14)
    wide = draw_caption(words, 1200, font_size=14)
    assert narrow.shape[0] > 2 * wide.shape[0]
    assert (narrow[:, -3:] == 255).all()  # nothing runs over the margin
    # A span across a line break is marked on both lines.
    marked = [(0, len(words), PALETTE[0])]
    strip = draw_caption(words, 200, marked, font_size=14)
    rows = pixels_of(strip, PALETTE[0])[:, 0]
    assert rows.max() - rows.min() > narrow.shape[0] / 2


def test_chips_are_below_the_caption_and_empty_captions_have_a_note():
    red = PALETTE[0]
    plain = draw_caption('a dog', 300)
    chips = draw_caption('a dog', 300, chips=[('a cat', red)])
    assert chips.shape[0] > plain.shape[0]
    assert pixels_of(chips, red)[:, 0].min() >= plain.shape[0] / 2
    assert (draw_caption('', 300) != 255).any()


def test_stack():
    stacked = stack_vertically(GREY, GREY[:50])
    assert stacked.shape == (250, 300, 3)
