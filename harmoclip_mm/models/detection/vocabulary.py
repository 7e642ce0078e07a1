"""What an open-vocabulary detector is trained on and what it is asked for."""

from dataclasses import replace
from pathlib import Path
from typing import NamedTuple, Sequence, Tuple, Union

from harmoclip_mm.text import Vocabulary, load_vocabulary


class OpenVocabulary(NamedTuple):
    """Classes, split by whether the detector learns them.

    Attributes:
        vocabulary (Vocabulary): All classes, in the order of the labels of a
            test.
        base (Tuple[str, ...]): Those with training boxes, in the same order:
            the labels of the training.
        novel (Tuple[str, ...]): Those without.
    """

    vocabulary: Vocabulary
    base: Tuple[str, ...]
    novel: Tuple[str, ...]


def split_vocabulary(
    classes: Union[str, Path, Sequence[str], Vocabulary],
    base: Union[str, Sequence[str], None] = None,
    novel: Union[str, Sequence[str], None] = None,
) -> OpenVocabulary:
    """Splits a vocabulary into base and novel classes.

    Args:
        classes (str | Path | Sequence[str] | Vocabulary): See
            ``load_vocabulary``.
        base (str | Sequence[str], optional): A group of the vocabulary, such
            as ``'base'`` of ``coco80``, or class names. Classes that are
            neither base nor novel are left out. Defaults to all that are not
            novel.
        novel (str | Sequence[str], optional): A group, such as ``'rare'`` of
            ``lvis1203``, or class names. Defaults to none.

    Returns:
        OpenVocabulary: The classes that are left, in their order.

    Raises:
        ValueError: If names are not in the vocabulary, a class is base and
            novel, or no base class is left.

    Examples:
        >>> split_vocabulary(['cat', 'dog'], novel=['cat']).base
        ('dog',)
    """
    vocabulary = load_vocabulary(classes)
    novel = members(vocabulary, novel or ())
    if base is None:
        base = [each for each in vocabulary.classes if each not in novel]
    else:
        base = members(vocabulary, base)
    both = [each for each in novel if each in base]
    if both:
        raise ValueError(
            f'Classes cannot be base and novel: {both[:5]} are in both lists.'
        )
    if not base:
        raise ValueError(
            'The vocabulary has no base class: leave some of the classes out '
            'of novel, since a detector is trained on the base classes.'
        )
    kept = {*base, *novel}
    vocabulary = subset(
        vocabulary, [each for each in vocabulary.classes if each in kept]
    )
    return OpenVocabulary(
        vocabulary,
        tuple(each for each in vocabulary.classes if each in base),
        tuple(each for each in vocabulary.classes if each in novel),
    )


def members(
    vocabulary: Vocabulary, names: Union[str, Sequence[str]]
) -> Tuple[str, ...]:
    """Classes that a group or a list names.

    Args:
        vocabulary (Vocabulary): The classes.
        names (str | Sequence[str]): A group of it, or class names.

    Returns:
        Tuple[str, ...]: The names.

    Raises:
        ValueError: If there is no such group or class.
    """
    if isinstance(names, str):
        if names not in vocabulary.groups:
            raise ValueError(
                f'The vocabulary has no group {names!r}; it has '
                f'{sorted(vocabulary.groups) or "none"}, or list the classes.'
            )
        return tuple(vocabulary.groups[names])
    unknown = [each for each in names if each not in vocabulary.classes]
    if unknown:
        raise ValueError(
            f'{unknown[:5]} are named base or novel, but are not in the '
            'vocabulary: add them to its classes.'
        )
    return tuple(names)


def subset(vocabulary: Vocabulary, classes: Sequence[str]) -> Vocabulary:
    """Takes some classes with their prompts; groups are left behind.

    Args:
        vocabulary (Vocabulary): The classes.
        classes (Sequence[str]): Names of some of them.

    Returns:
        Vocabulary: These, in the order named.
    """
    words = dict(zip(vocabulary.classes, vocabulary.prompts))
    return replace(
        vocabulary,
        classes=tuple(classes),
        prompts=tuple(words[name] for name in classes),
        groups={},
    )
