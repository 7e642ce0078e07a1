"""Tests of linking the mentions of a caption to boxes."""

import pytest

from harmoclip_mm.text import load_vocabulary
from harmoclip_mm.text.phrase_finder import PhraseFinder
from harmoclip_mm.text.phrase_linking import SINGULARS, link_caption

SMALL, LARGE, LARGER = [0, 0, 5, 5], [1, 1, 11, 11], [2, 2, 14, 12]


@pytest.fixture(scope='module')
def coco():
    return PhraseFinder.from_categories(load_vocabulary('coco80').classes)


def test_link_caption(coco):
    caption = 'A Dog, a dog and two big cats near dogs, a bus and a kite'
    boxes = {
        'dog': [SMALL, LARGE],
        'cat': [SMALL, LARGE],
        'kite': [],
        'person': [LARGE],
        'bus': [SMALL],
    }
    linked = link_caption(caption, boxes, coco)
    assert linked.regions == [
        {
            'bbox': LARGE,
            'phrase': 'Dog',
            'tokens_positive': [[2, 5], [9, 12]],
            'score': 0.95,  # four times as large
        },
        {
            'bbox': [SMALL, LARGE],
            'phrase': 'big cats',
            'tokens_positive': [[21, 29]],
        },
        {
            'bbox': [SMALL, LARGE],
            'phrase': 'dogs',
            'tokens_positive': [[35, 39]],
        },
        {'bbox': SMALL, 'phrase': 'bus', 'tokens_positive': [[43, 46]]},
    ]
    assert linked.boxes[:3] == (('dog', 1), ('cat', 0), ('cat', 1))
    assert set(linked.boxes) == {*linked.boxes[:3], ('dog', 0), ('bus', 0)}
    assert [m.categories for m in linked.unlinked] == [('kite',)]
    assert len(linked.linked) == 5


def score_of(coco, caption, singular='largest', **boxes):
    """Score and number of boxes of the one region of a caption."""
    (region,) = link_caption(caption, boxes, coco, singular).regions
    several = isinstance(region['bbox'][0], list)
    return region.get('score', 1), len(region['bbox']) if several else 1


def test_score_of_the_words(coco):
    assert score_of(coco, 'a dog', dog=[SMALL]) == (1, 1)
    assert score_of(coco, 'a puppy', dog=[SMALL]) == (0.95, 1)
    assert score_of(coco, 'pizza slices', pizza=[SMALL]) == (0.9, 1)
    assert score_of(coco, 'an animal', dog=[SMALL]) == (0.76, 1)


def test_score_of_the_number(coco):
    many = [SMALL, LARGE, LARGER, SMALL, SMALL]
    assert score_of(coco, 'dogs', dog=many) == (1, 5)
    assert score_of(coco, 'two dogs', dog=many) == (0.4, 5)
    assert score_of(coco, 'nine dogs', dog=many) == (1, 5)
    assert score_of(coco, 'dogs', dog=[SMALL]) == (0.8, 1)
    assert score_of(coco, 'sheep', sheep=[SMALL]) == (1, 1)


def test_a_singular_among_several_boxes(coco):
    two, close, twins = [SMALL, LARGE], [LARGE, LARGER], [SMALL, SMALL]
    assert score_of(coco, 'a dog', dog=two) == (0.95, 1)
    assert score_of(coco, 'a dog', dog=close) == (0.5, 1)
    assert score_of(coco, 'a dog', dog=twins) == (0.5, 1)
    assert score_of(coco, 'a dog', dog=[LARGE, [0, 0, 10, 14]]) == (0.75, 1)
    assert score_of(coco, 'a dog', 'all', dog=two) == (0.5, 2)
    assert score_of(coco, 'a dog', 'only', dog=[SMALL]) == (1, 1)
    linked = link_caption('a dog', {'dog': two}, coco, 'only')
    assert not linked.regions and len(linked.unlinked) == 1
    with pytest.raises(ValueError, match='singular'):
        link_caption('a dog', {'dog': two}, coco, 'first')
    assert SINGULARS[0] == 'largest'


def test_words_with_several_meanings(coco):
    linked = link_caption('a bike', {'motorcycle': [SMALL]}, coco)
    assert linked.boxes == (('motorcycle', 0),)
    both = {'motorcycle': [SMALL], 'bicycle': [LARGE]}
    linked = link_caption('a bike', both, coco)
    assert not linked.regions and len(linked.unlinked) == 1
