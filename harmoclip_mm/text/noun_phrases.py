"""Noun phrases of English captions, by rules.

Captions are plain: noun phrases, prepositions, participles. So a small lexicon
of closed word classes and common verbs, the rest by default nouns, and a dozen
rules of context tell what is the head of a phrase: "train" of "a commuter
train", "plate" of "cake plate"; no noun at all of "a man skis". The words are
data, ``data/english_words.json``.
"""

import json
import re
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import Dict, FrozenSet, List, Optional, Sequence, Tuple

_WORDS = Path(__file__).parent / 'data' / 'english_words.json'
_WORD = re.compile(r"\w+(?:['’-](?!s\b)\w+)*|['’]s\b|[^\w\s]")  # noqa: RUF001

_NUMERALS = ('one', 'two', 'three', 'four', 'five', 'six', 'seven', 'eight')

# Tags: what a word is taken for.
SINGULAR, DETERMINER, NUMBER = 'a', 'the', 'two'
ADJECTIVE, NOUN, ADVERB = 'adjective', 'noun', 'adverb'
PARTICIPLE, VERB, BE, MODAL = 'participle', 'verb', 'be', 'modal'
PREPOSITION, CONJUNCTION, PRONOUN = 'preposition', 'conjunction', 'pronoun'
TO, MARK = 'to', 'mark'
# Closed classes of the lexicon; the first that has a word tells its tag.
_CLOSED = {
    'singular determiners': SINGULAR,
    'determiners': DETERMINER,
    'numbers': NUMBER,
    'prepositions': PREPOSITION,
    'conjunctions': CONJUNCTION,
    'pronouns': PRONOUN,
    'be': BE,
    'modals': MODAL,
    'adverbs': ADVERB,
}
_BEFORE_NOUNS = {SINGULAR, DETERMINER, NUMBER, ADJECTIVE}


@lru_cache(maxsize=1)
def _lexicon() -> Dict[str, FrozenSet[str]]:
    words = json.loads(_WORDS.read_text(encoding='utf-8'))
    return {name: frozenset(text.split()) for name, text in words.items()}


@dataclass
class Noun:
    """A run of characters that the caller knows as one noun.

    Attributes:
        start (int): First character.
        end (int): Character after the last.
        plural (bool): Whether it is a plural, and not a singular too.
        living (bool): Whether it names what acts: a person or an animal.
    """

    start: int
    end: int
    plural: bool = False
    living: bool = False


@dataclass
class Token:
    """A word, or a noun of several words, with its tag."""

    start: int
    end: int
    text: str
    tag: str = ''
    plural: bool = False
    noun: Optional[Noun] = field(default=None, repr=False)


@dataclass(frozen=True)
class NounPhrase:
    """A noun with what stands before it and describes it.

    Attributes:
        start (int): First character; article, number and possessive are left
            out, since they do not describe what is seen.
        end (int): Character after the noun.
        tokens (Tuple[Token, ...]): The words; the last is the head.
        before (str): The word before the phrase in lower case, '' if none:
            its article, if it has one.
        after (str): The word behind it, '' if none.
    """

    start: int
    end: int
    tokens: Tuple[Token, ...]
    before: str
    after: str

    @property
    def has_measure(self) -> bool:
        """bool: Whether the head is a part or a number of what the word
        before it names, as in "pizza slices"."""
        heads = _bases(self.tokens[-1].text)
        measures = _lexicon()['measure nouns']
        return len(self.tokens) > 1 and not measures.isdisjoint(heads)


def number_of(word: str) -> Optional[int]:
    """Number that the word before a noun phrase tells.

    Args:
        word (str): In lower case, a numeral or not.

    Returns:
        int, optional: 1, 2, ...; 0 for several without a numeral; None if
        the word tells no number.
    """
    words = _lexicon()
    if word in words['singular determiners']:
        return 1
    if word in _NUMERALS:
        return _NUMERALS.index(word) + 1
    if word.isdecimal():
        return int(word)
    several = word in words['numbers'] and word not in words['any number']
    return 0 if several or word in ('these', 'those') else None


def noun_phrases(caption: str, nouns: Sequence[Noun]) -> List[NounPhrase]:
    """Noun phrases of a caption, from left to right.

    Args:
        caption (str): An English caption.
        nouns (Sequence[Noun]): What the caller knows as nouns, without
            overlap, such as "hot dog". Words of one may turn out verbs.

    Returns:
        List[NounPhrase]: Phrases without overlap. What is no noun in its
        context is head of none. Of a caption with two words or more that
        are not given, and none of them known English, the given nouns alone.
    """
    tokens = _tokenize(caption, nouns)
    others = [each for each in tokens if not each.noun and each.text.isalpha()]
    if len(others) > 1 and not any(map(_is_english, others)):
        for token in tokens:
            token.tag = NOUN if token.noun else MARK
        return _chunk(tokens)
    for i in range(len(tokens)):
        tokens[i].tag = _tag(tokens, i)
    # What follows has its tag now: "orange" of "orange and white".
    for i, token in enumerate(tokens):
        if token.tag == NOUN and _in(token, 'adjectives'):
            token.tag = _noun_or_adjective(tokens, i)
    return _chunk(tokens)


def _tokenize(caption: str, nouns: Sequence[Noun]) -> List[Token]:
    tokens, starts, end = [], {noun.start: noun for noun in nouns}, 0
    for match in _WORD.finditer(caption):
        if match.start() < end:
            continue
        noun = starts.get(match.start())
        end = noun.end if noun else match.end()
        text = caption[match.start() : end].lower()
        plural = noun.plural if noun else _looks_plural(text)
        tokens.append(Token(match.start(), end, text, '', plural, noun))
    return tokens


def _is_english(token: Token) -> bool:
    bases = _bases(token.text)
    return token.text.endswith(('ing', 'ed')) or any(
        not words.isdisjoint(bases) for words in _lexicon().values()
    )


def _in(token: Token, name: str) -> bool:
    return token.text in _lexicon()[name]


def _looks_plural(word: str) -> bool:
    return (
        len(word) > 3
        and word.endswith('s')
        and not word.endswith(('ss', 'us', 'is', "'s"))
        and word not in _lexicon()['nouns']
    )


def _bases(word: str) -> List[str]:
    """What a word may be the third person of, itself included."""
    found = [word]
    if word.endswith('ies'):
        found.append(word[:-3] + 'y')
    if word.endswith('es'):
        found.append(word[:-2])
    if word.endswith('s') and not word.endswith('ss'):
        found.append(word[:-1])
    return found


def _tag(tokens: List[Token], i: int) -> str:
    """The tag of a word, those on its left being known."""
    token, text = tokens[i], tokens[i].text
    if not text[0].isalnum():
        return DETERMINER if text[1:] == 's' else MARK
    previous = tokens[i - 1] if i else None
    following = tokens[i + 1].text if i + 1 < len(tokens) else ''
    words = _lexicon()
    if token.noun is None:
        if text == 'to':
            return TO
        for name, tag in _CLOSED.items():
            if text in words[name]:
                return tag
        if text.isdigit():
            return NUMBER
        if text in words['adjectives']:
            return ADJECTIVE
        if text in words['past forms'] or (
            text.endswith('ed') and text not in words['nouns']
        ):
            return _past(tokens, i)
        if text.endswith('ing') and (
            text not in words['nouns'] or _is_living(previous)
        ):
            return _ing(tokens, i)
        if text.endswith('ly') and text not in words['nouns']:
            return ADVERB
    if text in words['sports'] and _is_bare(previous):
        activities = words['activities']
        if previous is not None:
            activities = activities | words['activities or verbs']
        if following in activities:
            return VERB  # "people kite boarding"
    bases = _bases(text)
    either = not words['nouns or verbs'].isdisjoint(bases)
    if either or not words['verbs'].isdisjoint(bases):
        if _is_verb(tokens, i, previous, either, following):
            return VERB
    elif token.noun is None and _hoists(tokens, i):
        return VERB
    return NOUN


def _past(tokens: List[Token], i: int) -> str:
    """Of "a parked car", "snow covered bench": participle; "a car parked"."""
    previous = tokens[i - 1] if i else None
    if not _noun_follows(tokens, i):
        return VERB
    if previous is None or previous.tag in (
        *_BEFORE_NOUNS, PREPOSITION, ADVERB, MARK, CONJUNCTION, PARTICIPLE
    ):  # fmt: skip
        return PARTICIPLE
    compound = _in(tokens[i], 'compound participles')
    if previous.tag == NOUN and not previous.plural:
        living = _is_living(previous)
        made = living and tokens[i + 1].plural and _opening(tokens, i)
        if made != SINGULAR and (compound or not living):
            return PARTICIPLE  # but "a man made sandwiches"
    return VERB


def _is_living(token: Optional[Token]) -> bool:
    return token is not None and token.noun is not None and token.noun.living


def _is_bare(previous: Optional[Token]) -> bool:
    """Whether the noun behind this word has no article or adjective."""
    tags = (*_BEFORE_NOUNS, PARTICIPLE, NOUN, MARK)
    return previous is None or previous.tag not in tags or _is_living(previous)


def _ing(tokens: List[Token], i: int) -> str:
    """Of "a smiling man": participle; "a man riding", "for riding": verb."""
    previous = tokens[i - 1] if i else None
    if previous is None:
        return VERB
    if previous.tag in _BEFORE_NOUNS or previous.text == 'of':
        return PARTICIPLE if _noun_follows(tokens, i) else NOUN
    return VERB


def _noun_follows(tokens: List[Token], i: int) -> bool:
    """Whether the next word goes on with a noun phrase, as an article or a
    verb does not."""
    if i + 1 == len(tokens):
        return False
    following = tokens[i + 1]
    text = following.text
    if following.noun is not None:
        return True
    return (
        text[0].isalnum()
        and text not in _closed()
        and (not text.endswith('ing') or _in(following, 'nouns'))
        and not _in(following, 'past forms')
    )


@lru_cache(maxsize=1)
def _closed() -> FrozenSet[str]:
    """Words that neither are nouns nor describe one."""
    return frozenset({'to'}.union(*(_lexicon()[name] for name in _CLOSED)))


def _is_verb(
    tokens: List[Token],
    i: int,
    previous: Optional[Token],
    either: bool,
    following: str,
) -> bool:
    """Whether a word that can be a verb is one here."""
    words = _lexicon()
    third = tokens[i].text.endswith('s')
    takes_object = _opens(following)
    if previous is None or previous.tag == MARK:
        return takes_object and tokens[i].noun is None
    if previous.tag == TO:
        before = tokens[i - 2].text if i > 1 else ''
        return not third and before not in words['prepositional to']
    if previous.tag == MODAL or previous.tag == PRONOUN:
        return True
    if previous.text in ('that', 'who', 'which', 'not'):
        return True
    if previous.tag in (CONJUNCTION, ADVERB, VERB):
        return not either or (takes_object and tokens[i].noun is None)
    if previous.tag != NOUN:
        return False
    if not third:
        # "people walk"; "a man and woman ride a horse"; but "bus stop"
        return previous.plural or not either or takes_object
    opening = _opening(tokens, i)
    if opening == SINGULAR:  # "a bus stops", "a man skis"
        return not previous.plural
    if opening == NUMBER and not previous.plural:
        return False  # "two bus stops"
    if _is_living(previous):
        return not previous.plural
    if tokens[i].noun is not None:
        return takes_object  # "the kitchen sinks"
    return not either or opening is not None or takes_object


def _hoists(tokens: List[Token], i: int) -> bool:
    """Whether an unknown word in -s is the verb of "a man hoists a sail"."""
    if not (i and tokens[i].plural and tokens[i - 1].tag == NOUN):
        return False
    if i + 1 < len(tokens) and _opens(tokens[i + 1].text):
        return True
    previous = tokens[i - 1].noun
    if previous is None or previous.plural or _in(tokens[i - 1], 'adjectives'):
        return False
    return _opening(tokens, i) == SINGULAR or _noun_follows(tokens, i)


def _opens(word: str) -> bool:
    """Whether a word opens a noun phrase, the object of a verb before it."""
    words = _lexicon()
    return word in words['singular determiners'] | words['determiners']


def _opening(tokens: List[Token], i: int) -> Optional[str]:
    """Tag of the article or number of the phrase left of a word."""
    for j in range(i - 1, -1, -1):
        token = tokens[j]
        if token.tag in (SINGULAR, DETERMINER, NUMBER):
            singular = token.tag == NUMBER and token.text == 'one'
            return SINGULAR if singular else token.tag
        described = token.tag in (NOUN, ADJECTIVE, PARTICIPLE, ADVERB)
        if not described and not _joins(tokens, j):
            return None
    return None


def _noun_or_adjective(tokens: List[Token], i: int) -> str:
    """Of "an orange" or "an orange van", "in orange", "orange and gray"."""
    previous = tokens[i - 1] if i else None
    following = [token.tag for token in tokens[i + 1 : i + 3]]
    if tokens[i].plural:
        return NOUN
    if following[:1] and following[0] in (NOUN, ADJECTIVE, PARTICIPLE):
        measure = not _lexicon()['measure nouns'].isdisjoint(
            _bases(tokens[i + 1].text)
        )
        return NOUN if measure else ADJECTIVE
    joined = following[:1] == [CONJUNCTION] or (
        len(tokens) > i + 1 and tokens[i + 1].text == ','
    )
    if joined and following[1:] == [ADJECTIVE]:
        return ADJECTIVE
    if previous is None or previous.tag in (
        SINGULAR, DETERMINER, NUMBER, CONJUNCTION, MARK, PARTICIPLE
    ):  # fmt: skip
        return NOUN
    if previous.tag == PREPOSITION and previous.text != 'in':
        return NOUN
    return NOUN if previous.tag == ADJECTIVE else ADJECTIVE


def _chunk(tokens: List[Token]) -> List[NounPhrase]:
    found: List[NounPhrase] = []
    first, last = None, None  # of the phrase under way

    def close() -> None:
        nonlocal first, last
        if last is not None:
            words = tuple(tokens[first : last + 1])
            before = tokens[first - 1].text if first else ''
            after = tokens[last + 1].text if last + 1 < len(tokens) else ''
            start, end = words[0].start, words[-1].end
            found.append(NounPhrase(start, end, words, before, after))
        first = last = None

    for i, token in enumerate(tokens):
        tag = token.tag
        if tag == NOUN:
            if last is not None and tokens[last].plural:
                close()  # a plural describes no other noun
            first = i if first is None else first
            last = i
        elif tag == PARTICIPLE:
            first = i if first is None else first
        elif tag == ADJECTIVE:
            if last is not None:
                close()  # "a bowl full", "a bench next"
            first = i if first is None else first
        elif tag == ADVERB and last is None and _describes(tokens, i + 1):
            first = i if first is None else first
        elif _joins(tokens, i) and first is not None and last is None:
            continue
        else:
            close()
    close()
    return found


def _describes(tokens: List[Token], i: int) -> bool:
    return i < len(tokens) and tokens[i].tag in (ADJECTIVE, PARTICIPLE)


def _joins(tokens: List[Token], i: int) -> bool:
    """Whether a hyphen, a comma or "and" stands between two adjectives."""
    if tokens[i].text == '-':
        return True
    return (
        tokens[i].text in (',', 'and', 'or', '&')
        and i > 0
        and _describes(tokens, i - 1)
        and (
            _describes(tokens, i + 1)
            or (tokens[i].text == ',' and _describes(tokens, i + 2))
        )
    )
