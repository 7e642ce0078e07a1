import pytest

from harmoclip_mm.text import captions_of, phrases_of


@pytest.mark.parametrize(
    ('sample', 'captions'),
    [
        ({'text': 'a dog'}, ['a dog']),
        ({'text': ''}, []),
        ({}, []),
        ({'captions': ['one', 'two'], 'text': 'a dog'}, ['one', 'two']),
        ({'captions': [], 'text': 'a dog'}, []),
        ({'text': ('cat', 'dog')}, []),  # mmdet's classes of a data set
    ],
)
def test_captions(sample, captions):
    assert captions_of(sample) == captions


def test_phrases():
    phrases = {0: {'phrase': 'a dog'}, 1: {'phrase': 'a cat'}}
    assert phrases_of({'phrases': phrases}) == ['a dog', 'a cat']
    assert phrases_of({'text': 'a dog'}) == []
