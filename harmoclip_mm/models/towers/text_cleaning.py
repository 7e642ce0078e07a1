"""Clean text as CLIPs do, and know where every character came from.

Before it splits words a tokenizer repairs mojibake and curly quotes
(``ftfy``), resolves HTML entities twice, collapses white space, and, as the
model was trained, lower-cases or drops punctuation. Each step can change the
length of the text, whereas phrase spans count characters of the text as
stored. So cleaning returns, besides the text, its origin in the original.
"""

import html
import re
import string
from difflib import SequenceMatcher
from functools import lru_cache
from itertools import takewhile
from typing import Iterator, List, Tuple

import ftfy

Span = Tuple[int, int]

# Text of these characters alone is left as it is by ftfy and html.unescape,
# which take most of the time: nearly all captions are of this kind.
_PLAIN = re.compile(r'[\t\n\r -%\'-~]*\Z')
_NO_PUNCTUATION = str.maketrans('', '', string.punctuation)
_WORD = re.compile(r'\s*\S+|\s+')


def is_plain(text: str) -> bool:
    """Whether there is nothing to repair in a text (a quick look: some texts
    with nothing to repair are not plain)."""
    return _PLAIN.match(text) is not None


def clean_with_origin(text: str, kind: str) -> Tuple[str, List[Span]]:
    """Cleans a text as a tokenizer of open_clip does.

    Args:
        text (str): Any text.
        kind (str): ``'whitespace'``, ``'lower'`` or ``'canonicalize'``, as
            of ``open_clip.tokenizer.get_clean_fn``.

    Returns:
        Tuple[str, List[Tuple[int, int]]]: The clean text, and for each of
        its characters the half-open range of characters of ``text`` that it
        came from: one character, or all those that were repaired together.
        Starts and ends never decrease.
    """
    clean = text if is_plain(text) else _repair(text)
    origin = align(text, clean)
    steps = dict(whitespace=[], lower=[str.lower])
    steps['canonicalize'] = [_without_punctuation, str.lower]
    for step in steps[kind]:  # lengths depend on each character alone
        origin = [s for char, s in zip(clean, origin) for _ in step(char)]
        clean = step(clean)
    collapsed = ' '.join(clean.split())
    if collapsed != clean:
        words = [match.span() for match in re.finditer(r'\S+', clean)]
        # Each word with the white space before it, the first without.
        kept = [i for start, end in words for i in range(start - 1, end)]
        origin = [origin[index] for index in kept[1:]]
    return collapsed, origin


def align(source: str, target: str) -> List[Span]:
    """Finds for each character of a repaired text where it came from.

    Returns:
        List[Tuple[int, int]]: For each character of ``target`` a non-empty
        half-open range in ``source``. Starts and ends never decrease.
    """
    if source == target:
        return [(i, i + 1) for i in range(len(source))]
    old, new = (_WORD.findall(text) for text in (source, target))
    # Words that are frequent are no junk.
    matcher = SequenceMatcher(None, old, new, autojunk=False)
    spans, start = [], 0
    for _, i1, i2, j1, j2 in matcher.get_opcodes():
        pairs = list(zip(old[i1:i2], new[j1:j2]))
        if i2 - i1 != j2 - j1:
            pairs = [(''.join(old[i1:i2]), ''.join(new[j1:j2]))]
        for words, repaired in pairs:
            spans.extend(_align_words(words, repaired, start))
            start += len(words)
    return spans


def _without_punctuation(text: str) -> str:
    return text.replace('_', ' ').translate(_NO_PUNCTUATION)


@lru_cache(maxsize=4096)
def _repair(text: str) -> str:
    return html.unescape(html.unescape(ftfy.fix_text(text)))


def _align_words(old: str, new: str, offset: int) -> Iterator[Span]:
    """Aligns words that begin at ``offset`` of the source.

    They are taken apart wherever the repair of the parts is the parts of the
    repair. What hangs together, such as ``'&amp;'``, is the origin of all
    that became of it.
    """
    parts = [_repair(char) for char in old]
    if ''.join(parts) == new:  # quotes, ligatures, wide letters
        for index, part in enumerate(parts, offset):
            yield from [(index, index + 1)] * len(part)
        return
    start = done = 0
    for end in range(1, len(old) + 1):
        part = _repair(old[start:end])
        rest = new[done + len(part) :]
        if new[done:].startswith(part) and _repair(old[end:]) == rest:
            yield from [(offset + start, offset + end)] * len(part)
            start, done = end, done + len(part)
    # Nothing is left, but where neighbours decided on the repair.
    pairs = zip(old[start:], new[done:])
    same = sum(1 for _ in takewhile(lambda pair: pair[0] == pair[1], pairs))
    start, done = start + offset, done + same
    yield from ((start + i, start + i + 1) for i in range(same))
    end = max(offset + len(old), 1)
    yield from [(min(start + same, end - 1), end)] * (len(new) - done)
