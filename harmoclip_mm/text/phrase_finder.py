"""Find mentions of categories in captions.

A mention is a noun phrase whose head is a name of a category, a synonym or a
plural: "small brown dog", "commuter train". Names of several words are found
first, the longest that begins at a word, so that "hot dog" is no dog; so are
phrases that end with a name but mean something else ("toilet paper", "rubber
duck"). What the words are is data: ``data/coco_phrases.json`` for the 80
categories of COCO.
"""

import json
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Dict, List, NamedTuple, Optional, Sequence, Tuple, Union

from harmoclip_mm.coco_file import check_fields, read_json
from harmoclip_mm.errors import DataError

from .noun_phrases import Noun, NounPhrase, noun_phrases, number_of
from .vocabularies import class_to_prompt, load_vocabulary

_COCO_WORDS = Path(__file__).parent / 'data' / 'coco_phrases.json'
# What a file of words holds.
_KINDS = {
    'synonyms': 'lists',
    'irregular_plurals': 'lists?',
    'contexts': 'lists?',
    'other_meanings': 'names?',
    'groups': 'names?',
    'living': 'names?',
}
# What may stand between the words of one mention: "hot dog", "hot-dog".
_JOINT = r"[\s'’-]+"  # noqa: RUF001
# Scripts without spaces between words: Thai, Lao, Burmese, Khmer, Japanese
# and Chinese.
UNSPACED = re.compile(
    '[\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u3040-\u30ff\u3400-\u9fff]'
)


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
    """A noun phrase of a caption that names a category.

    Args:
        start (int): First character.
        end (int): Character after the last.
        categories (Tuple[str, ...]): Categories that the words can mean;
            more than one for words such as "bike".
        number (int, optional): How many the words speak of: 1, 2, ...; 0
            for a plural without a numeral; None where they leave it open
            ("sheep", "luggage", "family").
        kind (str): How the head names the category: by its ``'name'``, a
            ``'synonym'``, or as a ``'part'`` or group ("pizza slices").
    """

    start: int
    end: int
    categories: Tuple[str, ...]
    number: Optional[int] = 1
    kind: str = 'name'


class _Form(NamedTuple):
    """What a run of words can be; without categories, something else."""

    categories: Tuple[str, ...]
    number: Optional[int]
    kind: str


def word_key(phrase: str) -> str:
    """Look-up key: the words in lower case with single spaces."""
    return ' '.join(re.findall(r'\w+', phrase.lower()))


class PhraseFinder:
    """Finds mentions of categories in captions.

    Args:
        words (dict): ``synonyms``: category name to other names in the
            singular, the name itself understood. The rest is optional:
            ``irregular_plurals``, last word to plurals; ``other_meanings``,
            phrases that are no mention; ``contexts``, a name to words of
            which one must be in the caption ("pitcher": "baseball", ...);
            ``groups``, names of several, which name nothing before "of"
            ("family"); ``living``, categories that act, so that a verb may
            follow.

    Examples:
        >>> finder = PhraseFinder.from_categories(['dog', 'hot dog'])
        >>> for found in finder.find('A small dog eats hot dogs'):
        ...     print(found.start, found.end, found.categories, found.number)
        2 11 ('dog',) 1
        17 25 ('hot dog',) 0
    """

    def __init__(self, words: dict) -> None:
        self._living = set(words.get('living', ()))
        self._contexts = {
            word_key(name): {word_key(word) for word in context}
            for name, context in words.get('contexts', {}).items()
        }
        self._groups = {word_key(name) for name in words.get('groups', ())}
        irregular = words.get('irregular_plurals', {})
        self._forms: Dict[str, _Form] = {}
        self._unspaced: Dict[str, str] = {}
        for category, synonyms in words['synonyms'].items():
            name = re.sub(r'\(.*?\)', '', class_to_prompt(category)).strip()
            for phrase in (name or category, *synonyms):
                kind = 'synonym' if phrase in synonyms else 'name'
                if UNSPACED.search(phrase):
                    self._unspaced.setdefault(phrase, category)
                    continue
                plurals = plural_forms(phrase, irregular)
                countable = plurals and phrase not in plurals
                number = 1 if countable else None
                if word_key(phrase) in self._groups:
                    number = None
                self._add(phrase, category, number, kind)
                for plural in plurals:
                    if plural != phrase:
                        self._add(plural, category, 0, kind)
        for phrase in words.get('other_meanings', ()):
            for form in (phrase, *plural_forms(phrase, irregular)):
                # A name of a category keeps its meaning.
                self._forms.setdefault(word_key(form), _Form((), None, ''))
        self._patterns = self._compile()
        names = sorted(self._unspaced, key=len, reverse=True)
        self._unspaced_pattern = re.compile('|'.join(map(re.escape, names)))

    def _add(
        self, phrase: str, category: str, number: Optional[int], kind: str
    ) -> None:
        known = self._forms.get(word_key(phrase))
        if known is None:
            self._forms[word_key(phrase)] = _Form((category,), number, kind)
        elif category not in known.categories:
            categories = (*known.categories, category)
            self._forms[word_key(phrase)] = known._replace(
                categories=categories
            )

    def _compile(self) -> Dict[str, 're.Pattern[str]']:
        """By their first word, the forms as whole words, the longest first."""
        forms: Dict[str, List[str]] = {}
        for form in sorted(self._forms, key=lambda form: -form.count(' ')):
            # "horse-drawn" names no horse
            pattern = form.replace(' ', _JOINT) + r'\b(?!-\w)'
            forms.setdefault(form.split(' ')[0], []).append(pattern)
        return {
            first: re.compile('|'.join(patterns), re.IGNORECASE)
            for first, patterns in forms.items()
        }

    @classmethod
    def from_file(cls, path: Union[str, Path]) -> 'PhraseFinder':
        """Finder with the words of a JSON file.

        Args:
            path (str | Path): File with the keys of the class's ``words``.

        Raises:
            DataError: If there is no such JSON file; the message names it.
        """
        words = read_json(str(path), 'give a JSON of synonyms')
        check_fields(words, str(path), **_KINDS)
        unknown = sorted(set(words) - set(_KINDS))
        if unknown or not words['synonyms']:
            raise DataError(
                f'{path} has the unknown keys {unknown}; known are '
                f'{list(_KINDS)}, of which "synonyms" names the categories'
            )
        return cls(words)

    @classmethod
    def from_categories(cls, names: Sequence[str]) -> 'PhraseFinder':
        """Finder for the names of categories and their regular plurals.

        Categories that are COCO's too have COCO's synonyms, but for words
        that are themselves among the names: where "van" is a category it is
        no car.

        Args:
            names (Sequence[str]): Category names; ``_`` is read as a space
                and what stands in parentheses is ignored.
        """
        coco = set(load_vocabulary('coco80').classes)
        own = [name for name in names if name not in coco]
        if len(own) == len(names):
            return cls({'synonyms': dict.fromkeys(names, ())})
        words = json.loads(_COCO_WORDS.read_text(encoding='utf-8'))
        taken = {word_key(class_to_prompt(name)) for name in own}
        words['synonyms'] = {
            **{
                name: [
                    word for word in synonyms if word_key(word) not in taken
                ]
                for name, synonyms in words['synonyms'].items()
                if name not in taken  # LVIS has "traffic_light"
            },
            **dict.fromkeys(own, ()),
        }
        return cls(words)

    def find(self, caption: str) -> List[Mention]:
        """Find all mentions, from left to right, without overlap.

        Args:
            caption (str): Any text. Its grammar is taken for English; names
                in scripts without spaces are found wherever they stand.

        Returns:
            List[Mention]: Spans are half-open ranges of characters of
            ``caption``; they hold whole words.
        """
        nouns = self._nouns(caption)
        words = set(word_key(caption).split(' '))
        found = []
        for phrase in noun_phrases(caption, nouns):
            mention = self._mention(caption, phrase, words)
            if mention is not None:
                found.append(mention)
        if self._unspaced:
            found += [
                Mention(*match.span(), (self._unspaced[match.group()],), None)
                for match in self._unspaced_pattern.finditer(caption)
            ]
        return sorted(found, key=lambda mention: mention.start)

    def _nouns(self, caption: str) -> List[Noun]:
        """Runs of words that are known, without overlap."""
        nouns, end = [], 0
        for word in re.finditer(r'\w+', caption):
            pattern = self._patterns.get(word.group().lower())
            if pattern is None or word.start() < end:
                continue
            match = pattern.match(caption, word.start())
            if match is not None:
                end = match.end()
                form = self._forms[word_key(match.group())]
                living = not self._living.isdisjoint(form.categories)
                plural = form.number == 0
                nouns.append(Noun(match.start(), end, plural, living))
        return nouns

    def _mention(
        self, caption: str, phrase: NounPhrase, words: set
    ) -> Optional[Mention]:
        """What a noun phrase names, if it names a category."""
        head, kind = phrase.tokens[-1], None
        if head.noun is None and phrase.has_measure and phrase.tokens[-2].noun:
            head, kind = phrase.tokens[-2], 'part'  # "pizza slices"
        if head.noun is None:
            return None
        name = word_key(caption[head.start : head.end])
        form = self._forms[name]
        context = self._contexts.get(name)
        if not form.categories or (context and context.isdisjoint(words)):
            return None
        if name in self._groups and phrase.after == 'of':
            return None
        number, told = form.number, number_of(phrase.before)
        if kind or name in self._groups:
            number = None
        elif told is not None and not (told == 1 and number == 0):
            number = told  # "two sheep", and "two boat"
        elif number == 1 and phrase.before == 'of':
            number = None  # "slices of pizza"
        return Mention(
            phrase.start,
            phrase.end,
            form.categories,
            number,
            kind or form.kind,
        )
