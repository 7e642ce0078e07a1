"""Tests of noun phrases of captions."""

import pytest

from harmoclip_mm.text.noun_phrases import Noun, noun_phrases, number_of


def phrases(caption, *nouns):
    """Text of each phrase of a caption; ``nouns`` are known to the caller."""
    known = [
        Noun(start, start + len(word))
        for word in nouns
        for start in [caption.index(word)]
    ]
    known.sort(key=lambda noun: noun.start)
    return [
        caption[found.start : found.end]
        for found in noun_phrases(caption, known)
    ]


@pytest.mark.parametrize(
    ('caption', 'expected'),
    [
        ('a small brown dog on the grass', ['small brown dog', 'grass']),
        ('Two men ride their bikes', ['men', 'bikes']),
        ('a city bus stops at a corner', ['city bus', 'corner']),
        ('Two bus stops', ['bus stops']),
        ('the kitchen of a house', ['kitchen', 'house']),
        ('a black and white cat', ['black and white cat']),
        ('a cat and a dog', ['cat', 'dog']),
        ('a smiling man riding a horse', ['smiling man', 'horse']),
        ('a car parked by parked cars', ['car', 'parked cars']),
        ('a snow covered bench', ['snow covered bench']),
        ('a brightly colored kite', ['brightly colored kite']),
        ('a man hoists a sail', ['man', 'sail']),
        ('He wants to plant a tree', ['tree']),
        ('next to plant pots', ['plant pots']),
        ("a woman's red hat", ['woman', 'red hat']),
        ('a bowl full of fruit', ['bowl', 'fruit']),
        ('', []),
        ('... !', []),
    ],
)
def test_phrases(caption, expected):
    assert phrases(caption) == expected


def test_a_noun_of_several_words_is_one():
    caption = 'the stop sign'
    (found,) = noun_phrases(caption, [Noun(4, 13)])
    assert [token.text for token in found.tokens] == ['stop sign']
    assert (found.before, found.after) == ('the', '')


def test_a_living_noun_may_be_followed_by_its_verb():
    caption = 'The boy skateboards down'
    noun = [Noun(8, 19, plural=True)]
    (things,) = noun_phrases(caption, noun)
    assert caption[things.start : things.end] == 'boy skateboards'
    (boy,) = noun_phrases(caption, [Noun(4, 7, living=True), *noun])
    assert caption[boy.start : boy.end] == 'boy'


def test_another_language_is_read_word_by_word():
    caption = 'Der alte Hund schläft neben Katze'
    assert phrases(caption, 'Hund', 'Katze') == ['Hund', 'Katze']


def test_parts():
    def has_measure(caption):
        return [found.has_measure for found in noun_phrases(caption, ())]

    assert has_measure('pizza slices on a plate') == [True, False]
    assert has_measure('slices') == [False]


def test_number_of():
    words = ('a', 'one', 'two', 'eight', '12', 'several', 'these', 'the', '')
    assert [number_of(word) for word in words] == [
        1, 1, 2, 8, 12, 0, 0, None, None
    ]  # fmt: skip
