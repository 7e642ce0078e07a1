"""Texts of samples; the normal form of a phrase, and its key, an integer.

Two regions whose phrases have the same normal form say the same thing, so
they are positives of each other ("A dog." and "the dog"). The integer key
lets ranks compare phrases by gathering a tensor instead of strings.

Samples have their texts under the keys of mmdet's grounding data sets.
"""

import hashlib
import re
import unicodedata
from functools import lru_cache
from typing import Any, List, Mapping, Optional, Tuple

_ARTICLES = ('a', 'an', 'the')


def _strip_edges(text: str) -> str:
    """Cut punctuation (Unicode category P*) and space off both ends."""

    def is_edge(char: str) -> bool:
        return char.isspace() or unicodedata.category(char).startswith('P')

    start, end = 0, len(text)
    while start < end and is_edge(text[start]):
        start += 1
    while end > start and is_edge(text[end - 1]):
        end -= 1
    return text[start:end]


def normalise_phrase(phrase: str) -> str:
    """Bring a phrase to the form in which equal meaning is equal text.

    Lower case, Unicode NFKC, white space collapsed to single spaces,
    punctuation and space removed at both ends, one leading article (a, an,
    the) removed.

    Args:
        phrase (str): Any text.

    Returns:
        str: The normal form. A phrase that consists of an article alone
        stays as it is; one of punctuation alone becomes ``''``.

    Examples:
        >>> normalise_phrase('  The  Big Dog. ')
        'big dog'
    """
    text = unicodedata.normalize('NFKC', phrase).lower()
    words = _strip_edges(text).split()
    if len(words) > 1 and words[0] in _ARTICLES:
        # What the article stood before may be quoted: 'the "dog"'.
        words = _strip_edges(' '.join(words[1:])).split() or words[:1]
    return ' '.join(words)


def find_phrase(phrase: str, caption: str) -> Optional[Tuple[int, int]]:
    """Where a caption has a phrase as whole words, in any case, first.

    Args:
        phrase (str): The words.
        caption (str): Any text.

    Returns:
        tuple[int, int]: The characters [start, end), None if it is not there.
    """
    pattern = rf'(?<!\w){re.escape(phrase)}(?!\w)'
    match = re.search(pattern, caption, re.IGNORECASE)
    return match.span() if match else None


@lru_cache(maxsize=1 << 16)  # phrases repeat
def phrase_key(phrase: str) -> int:
    """Hash the normal form of a phrase to a non-negative 63-bit integer.

    Stable over processes, machines and Python versions, unlike ``hash``, and
    fits an int64 tensor. Among a million distinct phrases the chance of any
    collision is about 5e-8 (birthday bound, n^2 / 2^64).

    Args:
        phrase (str): Any text; see :func:`normalise_phrase`.

    Returns:
        int: In [0, 2^63).
    """
    text = normalise_phrase(phrase)
    return content_key(text.encode('utf-8', errors='surrogatepass'))


def content_key(content: bytes) -> int:
    """Hash bytes to a non-negative 63-bit integer, see :func:`phrase_key`."""
    digest = hashlib.blake2b(content, digest_size=8).digest()
    return int.from_bytes(digest, 'big') >> 1


def captions_of(sample: Mapping[str, Any]) -> List[str]:
    """The captions of an image.

    Args:
        sample (Mapping): A sample, or the metainfo of a packed one.

    Returns:
        list[str]: ``captions`` where there are any, as for retrieval, else
        ``text`` if it is a caption: data sets of boxes name their classes
        in it, which are no caption, and white space is none.
    """
    if 'captions' in sample:
        return list(sample['captions'])
    text = sample.get('text')
    return [text] if isinstance(text, str) and text.strip() else []


def phrases_of(sample: Mapping[str, Any]) -> List[str]:
    """The phrases of an image's regions.

    Args:
        sample (Mapping): A sample, or the metainfo of a packed one.

    Returns:
        list[str]: The phrase of each label; none without ``phrases``.
    """
    return [each['phrase'] for each in sample.get('phrases', {}).values()]
