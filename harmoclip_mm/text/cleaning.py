"""Clean text as CLIP does, and know where every character came from.

CLIP's tokenizer repairs mojibake and curly quotes (``ftfy``), resolves HTML
entities twice and lower-cases before it splits words. Each step can change
the length of the text, whereas phrase spans count characters of the text as
stored. So cleaning returns, besides the text, an alignment to the original.
"""

import html
import re
from difflib import SequenceMatcher
from typing import List, Optional, Tuple

import ftfy

Span = Tuple[int, int]

# Text of these characters alone is left as it is by ftfy and html.unescape,
# which saves most of the time: nearly all captions are of this kind.
_PLAIN = re.compile(r'[\t\n\r -%\'-~]*\Z')
# White space to str.split, which CLIP collapses, but not to the regex \s.
_SEPARATORS = dict.fromkeys(range(0x1C, 0x20), ' ')


def clean_text(text: str) -> Tuple[str, Optional[List[Span]]]:
    """Clean a text as ``open_clip.tokenize`` does before it splits words.

    White space is not collapsed, since the split into words skips it anyway;
    the tokens are the same.

    Args:
        text (str): Any text.

    Returns:
        Tuple[str, Optional[List[Tuple[int, int]]]]: The clean text, and for
        each of its characters the half-open range of characters of ``text``
        that it came from. None says that character i came from character i,
        exactly. The ranges are exact for lower-casing; where ftfy or an HTML
        entity rewrote a word they are found by comparing the two spellings,
        and a character without a counterpart gets that of its neighbour.
        Starts and ends never decrease.
    """
    if _PLAIN.match(text):
        return text.lower(), None
    fixed = html.unescape(html.unescape(ftfy.fix_text(text)))
    fixed = fixed.translate(_SEPARATORS)
    lowered = fixed.lower()
    spans = None if fixed == text else align(text, fixed)
    if len(lowered) == len(fixed):
        # Lower case never shortens, so equal length means one to one.
        return lowered, spans
    if spans is None:
        spans = [(i, i + 1) for i in range(len(text))]
    return lowered, [
        span
        for char, span in zip(fixed, spans)
        for _ in range(len(char.lower()))
    ]


def align(source: str, target: str) -> List[Span]:
    """Find for each character of a rewritten text where it came from.

    Words that differ are paired first and their characters after, so that
    the time grows with the length of the changed words and not with the
    square of the text's.

    Args:
        source (str): The original text.
        target (str): The rewritten text.

    Returns:
        List[Tuple[int, int]]: For each character of ``target`` a non-empty
        half-open range in ``source`` (empty only if ``source`` is). Starts
        and ends never decrease.
    """
    source_pieces = re.findall(r'\s+|\S+', source)
    target_pieces = re.findall(r'\s+|\S+', target)
    matcher = SequenceMatcher(None, source_pieces, target_pieces)
    spans = []
    start = 0
    for tag, i1, i2, j1, j2 in matcher.get_opcodes():
        old = ''.join(source_pieces[i1:i2])
        new = ''.join(target_pieces[j1:j2])
        if tag == 'equal':
            spans.extend((start + i, start + i + 1) for i in range(len(new)))
        else:
            spans.extend(_align_block(old, new, start, len(source)))
        start += len(old)
    return spans


def _align_block(
    old: str, new: str, offset: int, source_len: int
) -> List[Span]:
    """Align a changed stretch that begins at ``offset`` of the source."""
    spans: List[Span] = []
    pending = None  # start of deleted characters that nothing has taken yet
    matcher = SequenceMatcher(None, old, new)
    for tag, i1, i2, j1, j2 in matcher.get_opcodes():
        start, end = offset + i1, offset + i2
        if tag == 'delete':
            # '&amp;' -> '&': what vanished belongs to what stands before.
            if spans:
                spans[-1] = (spans[-1][0], end)
            else:
                pending = start
        elif tag == 'equal':
            spans.extend((i, i + 1) for i in range(start, end))
        elif tag == 'replace':
            spans.extend([(start, end)] * (j2 - j1))
        else:
            # Out of nothing: shares its neighbour's origin.
            left = max(min(start, source_len) - 1, 0)
            here = spans[-1] if spans else (left, min(left + 1, source_len))
            spans.extend([here] * (j2 - j1))
        if pending is not None and spans:
            spans[0] = (pending, spans[0][1])
            pending = None
    return spans
