"""Find mentions of categories in captions and link them to boxes.

A mention is a run of whole words that names a category by its name, a
synonym or a plural. Where several begin at one word the longest wins, so that
"hot dog" is not a dog; phrases that contain such words but mean something
else ("toilet paper") are known too, and block them. What the words are is
data: ``data/coco_phrases.json`` for the 80 categories of COCO.
"""

import json
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Dict, List, Optional, Sequence, Tuple, Union

from harmoclip_mm.errors import DataError

from .vocabularies import class_to_prompt, load_vocabulary

_COCO_WORDS = Path(__file__).parent / 'data' / 'coco_phrases.json'
_KEYS = (
    'synonyms',
    'irregular_plurals',
    'other_meanings',
    'adjectives',
    'function_words',
)
# What may stand between the words of one mention: "hot dog", "hot-dog".
_JOINT = r"[\s'’-]+"  # noqa: RUF001

Box = Sequence[float]


def plural_forms(
    phrase: str, irregular: Optional[Dict[str, Sequence[str]]] = None
) -> Tuple[str, ...]:
    """Make the plural of a noun phrase, by the rules of English spelling.

    Args:
        phrase (str): A noun phrase in the singular, in lower case.
        irregular (Dict[str, Sequence[str]], optional): Plurals of last words
            that the rules get wrong; empty for words without a plural.

    Returns:
        Tuple[str, ...]: Plurals; none, one or more.

    Examples:
        >>> plural_forms('park bench'), plural_forms('policeman')
        (('park benches',), ('policemen',))
    """
    head, last = phrase[: phrase.rfind(' ') + 1], phrase.split(' ')[-1]
    if irregular is not None and last in irregular:
        return tuple(head + plural for plural in irregular[last])
    if last.endswith('man'):
        return (head + last[:-3] + 'men',)
    if last.endswith(('s', 'x', 'z', 'ch', 'sh')):
        return (head + last + 'es',)
    if re.search(r'[^aeiou]y$', last):
        return (head + last[:-1] + 'ies',)
    return (head + last + 's',)


@dataclass(frozen=True)
class Mention:
    """A run of words of a caption that names a category.

    Args:
        start (int): First character.
        end (int): Character after the last.
        categories (Tuple[str, ...]): Categories that the words can mean;
            more than one for words such as "bike".
    """

    start: int
    end: int
    categories: Tuple[str, ...]


def _form(phrase: str) -> str:
    """Look-up key: the words in lower case with single spaces."""
    return ' '.join(re.findall(r'\w+', phrase.lower()))


class PhraseFinder:
    """Finds mentions of categories in captions.

    Args:
        words (dict): ``synonyms``: category name to other names in the
            singular, the name itself understood. The rest is optional:
            ``irregular_plurals``, last word to plurals; ``other_meanings``,
            phrases that are no mention; ``adjectives``, names that are one
            only at the end of a clause or before a ``function_words``
            ("an orange on a plate", not "an orange shirt").

    Raises:
        ValueError: If there are no categories, or ``words`` has unknown keys.

    Examples:
        >>> finder = PhraseFinder.from_categories(['dog', 'hot dog'])
        >>> finder.find('A dog eats hot dogs')
        [Mention(start=2, end=5, categories=('dog',)), \
Mention(start=11, end=19, categories=('hot dog',))]
    """

    def __init__(self, words: dict) -> None:
        unknown = sorted(set(words) - set(_KEYS))
        if unknown:
            raise ValueError(
                f'Unknown keys {unknown} in the phrase data, known are '
                f'{list(_KEYS)}.'
            )
        if not words.get('synonyms'):
            raise ValueError('The phrase data names no categories.')
        self.categories = tuple(words['synonyms'])
        irregular = words.get('irregular_plurals', {})
        self._meanings: Dict[str, Tuple[str, ...]] = {}
        for category, synonyms in words['synonyms'].items():
            name = re.sub(r'\(.*?\)', '', class_to_prompt(category)).strip()
            for phrase in (name or category, *synonyms):
                for form in (phrase, *plural_forms(phrase, irregular)):
                    self._add(form, category)
        for phrase in words.get('other_meanings', ()):
            for form in (phrase, *plural_forms(phrase, irregular)):
                # A name of a category keeps its meaning.
                self._meanings.setdefault(_form(form), ())
        self._patterns = self._compile(words)

    def _add(self, phrase: str, category: str) -> None:
        meanings = self._meanings.get(_form(phrase), ())
        if category not in meanings:
            self._meanings[_form(phrase)] = (*meanings, category)

    def _compile(self, words: dict) -> Dict[str, 're.Pattern[str]']:
        """By their first word, the forms as whole words, the longest first."""
        adjectives = {_form(each) for each in words.get('adjectives', ())}
        function_words = '|'.join(words.get('function_words', ()))
        # "an orange shirt": another word follows that is no function word
        modifies = rf'(?!\s+(?!(?:{function_words})\b)\w)'
        forms: Dict[str, List[str]] = {}
        for form in sorted(self._meanings, key=lambda form: -form.count(' ')):
            # "horse-drawn" names no horse
            pattern = form.replace(' ', _JOINT) + r'\b(?!-\w)'
            if form in adjectives:
                pattern += modifies
            forms.setdefault(form.split(' ')[0], []).append(pattern)
        return {
            first: re.compile('|'.join(patterns), re.IGNORECASE)
            for first, patterns in forms.items()
        }

    @classmethod
    def for_coco(cls) -> 'PhraseFinder':
        """Finder of the 80 COCO categories with their synonyms.

        Returns:
            PhraseFinder: Reads ``data/coco_phrases.json``.
        """
        return cls.from_file(_COCO_WORDS)

    @classmethod
    def from_file(cls, path: Union[str, Path]) -> 'PhraseFinder':
        """Finder with the words of a JSON file.

        Args:
            path (str | Path): File with the keys of the class's ``words``.

        Returns:
            PhraseFinder: The finder.

        Raises:
            DataError: If there is no such JSON file; the message names it.
        """
        try:
            words = json.loads(Path(path).read_text(encoding='utf-8'))
            if not isinstance(words, dict):
                raise ValueError('expected an object.')
            return cls(words)
        except OSError as error:
            raise DataError(
                f'Phrase file {path}: {error.strerror or error}'
            ) from error
        except (ValueError, TypeError, AttributeError) as error:
            raise DataError(f'Phrase file {path}: {error}') from error

    @classmethod
    def from_categories(cls, names: Sequence[str]) -> 'PhraseFinder':
        """Finder for the names of categories and their regular plurals.

        When all names are COCO's, whichever of them, the synonyms of COCO are
        used.

        Args:
            names (Sequence[str]): Category names; ``_`` is read as a space
                and what stands in parentheses is ignored.

        Returns:
            PhraseFinder: The finder.
        """
        if names and set(names) <= set(load_vocabulary('coco80').classes):
            return cls.for_coco()
        return cls({'synonyms': dict.fromkeys(names, ())})

    def find(self, caption: str) -> List[Mention]:
        """Find all mentions, from left to right, without overlap.

        Args:
            caption (str): Any text.

        Returns:
            List[Mention]: Spans are half-open ranges of characters of
            ``caption``; they hold whole words.
        """
        mentions, end = [], 0
        for word in re.finditer(r'\w+', caption):
            pattern = self._patterns.get(word.group().lower())
            if pattern is None or word.start() < end:
                continue
            match = pattern.match(caption, word.start())
            if match is not None:
                end = match.end()
                meanings = self._meanings.get(_form(match.group()))
                if meanings:
                    mentions.append(Mention(word.start(), end, meanings))
        return mentions


@dataclass(frozen=True)
class LinkedCaption:
    """A caption whose mentions are linked to boxes.

    Args:
        regions (List[dict]): One for each distinct phrase, in the order of
            the caption, with the keys of ODVG's grounding regions: ``bbox``
            (one box, or a list of them), ``phrase`` and ``tokens_positive``.
        linked (List[Mention]): Mentions that got boxes.
        unlinked (List[Mention]): Mentions whose categories have no box, or
            whose meaning the boxes leave open.
        categories (Tuple[str, ...]): Categories whose boxes were linked.
    """

    regions: List[dict]
    linked: List[Mention]
    unlinked: List[Mention]
    categories: Tuple[str, ...]


def link_caption(
    caption: str,
    boxes: Dict[str, Sequence[Box]],
    finder: PhraseFinder,
) -> LinkedCaption:
    """Link each mention of a caption to all boxes of its category.

    A word of several meanings is linked if exactly one of them has boxes.
    Equal phrases (but for case) share one region with several spans, so that
    a box is not listed twice for one phrase; "man" and "woman" are two
    phrases and both get all boxes of persons.

    Args:
        caption (str): The caption.
        boxes (Dict[str, Sequence[Box]]): Category name to its boxes in the
            image, xyxy in pixels.
        finder (PhraseFinder): Knows the categories' words.

    Returns:
        LinkedCaption: Regions and what was linked.
    """
    regions: Dict[Tuple[str, str], dict] = {}
    linked, unlinked, categories = [], [], []
    for mention in finder.find(caption):
        meant = [name for name in mention.categories if boxes.get(name)]
        if len(meant) != 1:
            unlinked.append(mention)
            continue
        linked.append(mention)
        category = meant[0]
        if category not in categories:
            categories.append(category)
        phrase = caption[mention.start : mention.end]
        span = [mention.start, mention.end]
        key = (category, _form(phrase))
        if key in regions:
            regions[key]['tokens_positive'].append(span)
            continue
        found = [list(box) for box in boxes[category]]
        regions[key] = {
            'bbox': found[0] if len(found) == 1 else found,
            'phrase': phrase,
            'tokens_positive': [span],
        }
    return LinkedCaption(
        list(regions.values()), linked, unlinked, tuple(categories)
    )
