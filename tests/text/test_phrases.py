"""Tests of the phrase normal form and its key."""

import hashlib
import subprocess
import sys

import pytest

from harmoclip_mm.text import normalise_phrase, phrase_key


@pytest.mark.parametrize(
    ('phrase', 'expected'),
    [
        ('dog', 'dog'),
        ('A dog.', 'dog'),
        ('  The   Big\tDOG!! ', 'big dog'),
        ('an orange', 'orange'),
        ('"the dog"', 'dog'),
        ('the "dog"', 'dog'),
        ("child's bike", "child's bike"),
        ('theatre', 'theatre'),
        ('a', 'a'),
        ('The.', 'the'),
        ('a ...', 'a'),
        ('the the dog', 'the dog'),
        ('ﬁre\u00a0truck', 'fire truck'),
        ('...', ''),
        ('', ''),
        ('«Café»', 'café'),
        ('top-left $5', 'top-left $5'),
    ],
)
def test_normalise_phrase(phrase, expected):
    assert normalise_phrase(phrase) == expected


def test_phrase_key_follows_the_normal_form():
    assert phrase_key('A dog.') == phrase_key('the  DOG')
    assert phrase_key('a dog') != phrase_key('a dogs')


def test_phrase_key_is_63_bit():
    keys = [phrase_key(f'phrase {i}') for i in range(1000)]
    assert len(set(keys)) == 1000
    assert all(0 <= key < 2**63 for key in keys)
    # The top bit in use is reached, so no part of the range is wasted.
    assert max(keys) >= 2**62


def test_phrase_key_is_stable_over_processes():
    # hash() of a string would differ: it is salted for each process.
    code = (
        'from harmoclip_mm.text import phrase_key; print(phrase_key("a dog"))'
    )
    other = subprocess.run(
        [sys.executable, '-c', code],
        capture_output=True,
        text=True,
        check=True,
    )
    # blake2b('dog', 8 bytes), without its lowest bit.
    digest = hashlib.blake2b(b'dog', digest_size=8).hexdigest()
    assert int(other.stdout) == phrase_key('dog') == int(digest, 16) // 2
