"""Link the mentions of a caption to boxes, each with a confidence."""

from dataclasses import dataclass
from typing import Dict, List, Sequence, Tuple

from harmoclip_mm.errors import check_choice

from .phrase_finder import Mention, PhraseFinder, word_key

Box = Sequence[float]

# Confidence that words mean the category, and that the largest box is the one
# that a singular means, by its area as a multiple of the next one's. The
# second was counted, see docs/method.md; the first is a judgement.
_WORD_SCORES = {'name': 1.0, 'synonym': 0.95, 'part': 0.9}
_OPEN_MEANING, _PLURAL_OF_ONE = 0.8, 0.8
_LARGEST_SCORES = ((2.0, 0.95), (1.3, 0.75), (0.0, 0.5))
SINGULARS = ('largest', 'all', 'only')


@dataclass(frozen=True)
class LinkedCaption:
    """A caption whose mentions are linked to boxes.

    Args:
        regions (List[dict]): One for each distinct phrase, in the order of
            the caption, with the keys of ODVG's grounding regions: ``bbox``
            (one box, or a list of them), ``phrase``, ``tokens_positive``,
            and ``score`` where the link is less than certain.
        linked (List[Mention]): Mentions that got boxes.
        unlinked (List[Mention]): Mentions whose categories have no box, or
            whose meaning or box the boxes leave open.
        boxes (Tuple[Tuple[str, int], ...]): Category and index of the boxes
            that were linked, each once.
    """

    regions: List[dict]
    linked: List[Mention]
    unlinked: List[Mention]
    boxes: Tuple[Tuple[str, int], ...]


def link_caption(
    caption: str,
    boxes: Dict[str, Sequence[Box]],
    finder: PhraseFinder,
    singular: str = 'largest',
) -> LinkedCaption:
    """Link each mention of a caption to boxes of its category.

    A word of several meanings is linked if exactly one of them has boxes.
    Equal phrases (but for case) share one region with several spans, so that
    a box is not listed twice for one phrase.

    The score of a link is a product: of the words (a name 1, a synonym 0.95,
    a part such as "pizza slices" 0.9; 0.8 if boxes decided between several
    meanings) and of the number. A plural is linked to all boxes of its
    category; of "two dogs" and five boxes two in five are right, which is
    their score; a plural with one box has 0.8. A singular with several boxes
    is linked by ``singular``.

    Args:
        caption (str): The caption.
        boxes (Dict[str, Sequence[Box]]): Category name to its boxes in the
            image, xyxy in pixels.
        finder (PhraseFinder): Knows the categories' words.
        singular (str): Where a singular noun meets n boxes of its category,
            link ``'largest'``, with a score of 0.95 if it is at least twice
            as large as the next one, 0.75 from 1.3 times, else 0.5;
            ``'all'``, with a score of 1 / n; or ``'only'`` one that is
            alone. Defaults to ``'largest'``.

    Raises:
        ValueError: If ``singular`` is unknown.
    """
    check_choice('link_caption', 'singular', singular, SINGULARS)
    regions: Dict[Tuple[str, str, bool], dict] = {}
    linked, unlinked = [], []
    used: Dict[Tuple[str, int], None] = {}
    for mention in finder.find(caption):
        meant = [name for name in mention.categories if boxes.get(name)]
        chosen, score = [], 0.0
        if len(meant) == 1:
            chosen, score = _choose(mention, boxes[meant[0]], singular)
        if not chosen:
            unlinked.append(mention)
            continue
        linked.append(mention)
        category = meant[0]
        used.update(dict.fromkeys((category, index) for index in chosen))
        phrase = caption[mention.start : mention.end]
        span = [mention.start, mention.end]
        key = (category, word_key(phrase), mention.number == 1)
        if key in regions:
            regions[key]['tokens_positive'].append(span)
            continue
        found = [list(boxes[category][index]) for index in chosen]
        regions[key] = {
            'bbox': found[0] if len(found) == 1 else found,
            'phrase': phrase,
            'tokens_positive': [span],
        }
        if score < 1:
            regions[key]['score'] = round(score, 3)
    return LinkedCaption(list(regions.values()), linked, unlinked, tuple(used))


def _choose(
    mention: Mention, boxes: Sequence[Box], singular: str
) -> Tuple[List[int], float]:
    """Indices of the boxes of a mention, none if it is open; the score."""
    score = _WORD_SCORES[mention.kind]
    if len(mention.categories) > 1:
        score *= _OPEN_MEANING
    count, number = len(boxes), mention.number
    everything = list(range(count))
    if number == 1 and count > 1:
        if singular == 'only':
            return [], 0.0
        if singular == 'all':
            return everything, score / count
        areas = [(x2 - x1) * (y2 - y1) for x1, y1, x2, y2 in boxes]
        first, second = sorted(areas, reverse=True)[:2]
        ratio = first / second
        score *= next(p for least, p in _LARGEST_SCORES if ratio >= least)
        return [areas.index(first)], score
    if number and number < count:
        score *= number / count
    elif number != 1 and number is not None and count == 1:
        score *= _PLURAL_OF_ONE
    return everything, score
