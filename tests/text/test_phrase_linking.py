"""Tests of finding category mentions in captions and linking them."""

import json
import re
from pathlib import Path

import pytest

from harmoclip_mm.text import load_vocabulary, phrase_linking
from harmoclip_mm.text.phrase_linking import (
    PhraseFinder,
    link_caption,
    plural_forms,
)


@pytest.fixture(scope='module')
def coco():
    return PhraseFinder.for_coco()


def mentions(finder, caption):
    return [
        (caption[m.start : m.end], *m.categories) for m in finder.find(caption)
    ]


@pytest.mark.parametrize(
    ('singular', 'plurals'),
    [
        ('dog', ('dogs',)),
        ('park bench', ('park benches',)),
        ('toothbrush', ('toothbrushes',)),
        ('box', ('boxes',)),
        ('pony', ('ponies',)),
        ('donkey', ('donkeys',)),
        ('policeman', ('policemen',)),
        ('wine glass', ('wine glasses',)),
    ],
)
def test_regular_plurals(singular, plurals):
    assert plural_forms(singular) == plurals


def test_irregular_plurals():
    irregular = {'knife': ['knives'], 'sheep': ['sheep'], 'luggage': []}
    assert plural_forms('butter knife', irregular) == ('butter knives',)
    assert plural_forms('sheep', irregular) == ('sheep',)
    assert plural_forms('luggage', irregular) == ()


@pytest.mark.parametrize(
    ('caption', 'expected'),
    [
        # The longest mention wins.
        ('A dog eats a hot dog.', ['dog', 'hot dog']),
        ('a hot-dog and hot  dogs', ['hot dog', 'hot dog']),
        ('bears hold teddy bears', ['bear', 'teddy bear']),
        ('a stuffed bear', ['teddy bear']),
        ('a dining room table', ['dining table']),
        ('tables', ['dining table']),
        ('a polar bear', ['bear']),
        ('a carrot cake', ['cake']),
        ('tv remotes near the tv', ['remote', 'tv']),
        ('a tennis racquet', ['tennis racket']),
        ('a fire truck at a fire hydrant', ['truck', 'fire hydrant']),
        ('a baby elephant', ['elephant']),
        ('pick-up trucks', ['truck']),
        # Irregular plurals.
        ('people with knives', ['person', 'knife']),
        ('Three MEN, two women', ['person', 'person']),
        ('children and mice', ['person', 'mouse']),
        ('sheep, geese and oxen', ['sheep', 'bird', 'cow']),
        ('two busses or buses', ['bus', 'bus']),
        ('bowls of broccoli', ['bowl', 'broccoli']),
        ('pair of scissors', ['scissors']),
        ('glasses of wine', ['wine glass']),
        # Whole words only.
        ('a scar, a doghouse, catering, kiteboarding', []),
        ('a horse-drawn carriage', []),
        ("the woman's hats", ['person']),
        # The same words, another meaning.
        ('toilet paper on a book shelf', []),
        ('a bus stop by the train station', []),
        ('a table cloth', []),
        ('orange shirt, passenger jets', ['airplane']),
        ('an orange on a plate', ['orange']),
        ('oranges, an orange', ['orange', 'orange']),
        ('a dog wearing a tie.', ['dog', 'tie']),
        ('', []),
    ],
)
def test_find_in_coco(coco, caption, expected):
    found = coco.find(caption)
    assert [mention.categories for mention in found] == [
        (name,) for name in expected
    ]


def test_spans_are_those_of_the_caption(coco):
    assert mentions(coco, "İ: Two Hot-Dogs,\tcatcher's  mitt!") == [
        ('Hot-Dogs', 'hot dog'),
        ("catcher's  mitt", 'baseball glove'),
    ]


def test_a_sentence_end_parts_words(coco):
    assert mentions(coco, 'It is hot. Dogs sleep') == [('Dogs', 'dog')]


def test_words_with_several_meanings(coco):
    assert mentions(coco, 'a bike') == [('bike', 'bicycle', 'motorcycle')]
    box, other = [0, 0, 5, 5], [1, 1, 6, 6]
    linked = link_caption('a bike', {'motorcycle': [box]}, coco)
    assert linked.categories == ('motorcycle',)
    both = {'motorcycle': [box], 'bicycle': [other]}
    linked = link_caption('a bike', both, coco)
    assert not linked.regions and len(linked.unlinked) == 1


def test_link_caption(coco):
    caption = 'A Man, a man and a woman near dogs, a cat and a kite'
    boxes = {
        'person': [[0, 0, 5, 5], [1, 1, 6, 6]],
        'cat': [[2, 2, 3, 3]],
        'kite': [],
        'bus': [[7, 7, 9, 9]],
    }
    linked = link_caption(caption, boxes, coco)
    persons = [[0, 0, 5, 5], [1, 1, 6, 6]]
    assert linked.regions == [
        {
            'bbox': persons,
            'phrase': 'Man',
            'tokens_positive': [[2, 5], [9, 12]],
        },
        {'bbox': persons, 'phrase': 'woman', 'tokens_positive': [[19, 24]]},
        {'bbox': [2, 2, 3, 3], 'phrase': 'cat', 'tokens_positive': [[38, 41]]},
    ]
    assert linked.categories == ('person', 'cat')
    assert [m.categories for m in linked.unlinked] == [('dog',), ('kite',)]
    assert len(linked.linked) == 4


def test_every_word_of_coco_finds_its_category(coco):
    path = Path(phrase_linking.__file__).parent / 'data/coco_phrases.json'
    words = json.loads(path.read_text())
    assert tuple(words['synonyms']) == load_vocabulary('coco80').classes
    for category, synonyms in words['synonyms'].items():
        for phrase in (category, *synonyms):
            (mention,) = coco.find(f'{phrase}.')
            assert category in mention.categories, phrase
    for phrase in words['other_meanings']:
        assert coco.find(phrase) == [], phrase
        # As a key that can be found: lower case, single spaces.
        assert re.fullmatch(r"[a-z0-9']+( [a-z0-9']+)*", phrase)


def test_categories_of_ones_own():
    names = ['Traffic_Cone', 'bow_(weapon)', 'bow_(tie)', 'berry']
    finder = PhraseFinder.from_categories(names)
    assert mentions(finder, 'traffic cones, a bow, berries, a man') == [
        ('traffic cones', 'Traffic_Cone'),
        ('bow', 'bow_(weapon)', 'bow_(tie)'),
        ('berries', 'berry'),
    ]


def test_some_categories_of_coco_use_its_synonyms():
    finder = PhraseFinder.from_categories(['dog', 'cat'])
    # Also the words of other categories block: a hot dog is still no dog.
    assert mentions(finder, 'a puppy, a hot dog') == [
        ('puppy', 'dog'),
        ('hot dog', 'hot dog'),
    ]


def test_bad_words(tmp_path):
    with pytest.raises(ValueError, match='no categories'):
        PhraseFinder({'synonyms': {}})
    with pytest.raises(ValueError, match=r"Unknown keys \['synonym'\]"):
        PhraseFinder({'synonym': {}})
    file = tmp_path / 'words.json'
    file.write_text('[')
    with pytest.raises(ValueError, match=r'words\.json'):
        PhraseFinder.from_file(file)
    file.write_text('[]')
    with pytest.raises(ValueError, match=r'words\.json: expected an object'):
        PhraseFinder.from_file(file)
