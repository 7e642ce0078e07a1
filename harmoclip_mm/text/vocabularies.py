"""Vocabularies: the class names that boxes are classified into.

A vocabulary is data: an ordered tuple of class names, groups of them that
are reported apart (base and novel, thing and stuff, ...), and for each class
the words that fill a prompt template.
"""

from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Dict, Mapping, Sequence, Tuple, Union

from harmoclip_mm.coco_file import check_fields, read_json
from harmoclip_mm.errors import DataError

_DATA_DIR = Path(__file__).parent / 'data' / 'vocabularies'


def class_to_prompt(name: str) -> str:
    """Turn a class name into the words that fill a prompt template.

    Lower case, ``_`` becomes a space and ``/`` becomes `` or ``, white space
    is collapsed: the cleaning of ViLD's demo (tensorflow/tpu,
    ``ViLD_demo.ipynb``, ``processed_name``), which LVIS and Objects365 need.

    Args:
        name (str): Class name, such as ``'bow_(weapon)'``.

    Returns:
        str: Words, such as ``'bow (weapon)'``.
    """
    return ' '.join(
        name.replace('_', ' ').replace('/', ' or ').lower().split()
    )


def classes_to_prompts(classes: Sequence[str]) -> Tuple[str, ...]:
    """Turn class names into words, which must tell the classes apart.

    Args:
        classes (Sequence[str]): Class names.

    Returns:
        Tuple[str, ...]: The words of each, see :func:`class_to_prompt`.

    Raises:
        DataError: If two of them have the same words; names these.

    Examples:
        >>> classes_to_prompts(['dog', 'Hot_Dog'])
        ('dog', 'hot dog')
    """
    first: Dict[str, str] = {}
    for name in classes:
        known = first.setdefault(class_to_prompt(name), name)
        if known != name:
            raise DataError(
                f'the classes {known!r} and {name!r} have one prompt, '
                f'{class_to_prompt(name)!r}, so that neither is ever right: '
                'rename one, or give prompts'
            )
    return tuple(map(class_to_prompt, classes))


@dataclass(frozen=True)
class Vocabulary:
    """Class names in the order of their labels, with groups and prompts.

    Args:
        classes (Tuple[str, ...]): Class names; the position is the label.
        groups (Dict[str, Tuple[str, ...]]): Names of groups and the classes
            in each. A class may be in any number of groups, none included.
        prompts (Tuple[str, ...]): Words for each class that fill a template.
            Empty: made from the class names by :func:`class_to_prompt`.

    Raises:
        ValueError: No classes, a name that is not a string or is blank,
            duplicate names or, without prompts, names that make one prompt, a
            number of prompts that differs from the number of classes, or a
            group that names something that is not a class.
    """

    classes: Tuple[str, ...]
    groups: Dict[str, Tuple[str, ...]] = field(default_factory=dict)
    prompts: Tuple[str, ...] = ()

    def __post_init__(self) -> None:
        classes, prompts = tuple(self.classes), tuple(self.prompts)
        texts = dict(classes=[*classes], prompts=[*prompts])
        check_fields(texts, 'the vocabulary', **dict.fromkeys(texts, 'names'))
        groups = {name: tuple(each) for name, each in self.groups.items()}
        if not classes:
            raise ValueError(
                'The vocabulary is empty: list at least one class name.'
            )
        twice = [name for name, n in Counter(classes).items() if n > 1]
        if twice:
            raise ValueError(
                f'Duplicate class names: {twice[:5]}. Classes '
                'with equal text cannot be told apart.'
            )
        prompts = prompts or classes_to_prompts(classes)
        if len(prompts) != len(classes):
            raise ValueError(
                f'{len(prompts)} prompts for {len(classes)} classes: give '
                'one prompt for each class, or none at all.'
            )
        for group, members in groups.items():
            unknown = sorted(set(members) - set(classes))
            if unknown:
                raise ValueError(
                    f'Group {group!r} names what is not a class: '
                    f'{unknown[:5]}.'
                )
        # The class is frozen, so that it can be shared and cached.
        object.__setattr__(self, 'classes', classes)
        object.__setattr__(self, 'groups', groups)
        object.__setattr__(self, 'prompts', prompts)

    def __len__(self) -> int:
        return len(self.classes)


def list_vocabularies() -> Tuple[str, ...]:
    """Names of the vocabularies that ship with the package.

    Returns:
        Tuple[str, ...]: Names in alphabetical order.
    """
    return tuple(sorted(path.stem for path in _DATA_DIR.glob('*.json')))


def _read(path: Path) -> Vocabulary:
    suffix = path.suffix.lower()
    if suffix in ('.csv', '.tsv', '.yaml', '.yml'):
        raise ValueError(
            f'{suffix} is not read; write one class name a line into a .txt '
            'file, or a list of names into a .json file.'
        )
    if suffix == '.json':
        content = read_json(str(path), 'give a file of class names')
        if isinstance(content, list):
            content = {'classes': content}
        kinds = dict(classes='names', groups='lists?', prompts='names?')
        check_fields(content, 'its content', **kinds)
        unknown = sorted(set(content) - set(kinds))
        if unknown:
            raise ValueError(f'unknown keys {unknown}, known: {list(kinds)}.')
        return Vocabulary(**content)
    text = path.read_text(encoding='utf-8-sig')
    names = tuple(filter(None, map(str.strip, text.splitlines())))
    if names and all(name.startswith('- ') for name in names):
        raise ValueError(
            f'its lines begin with a dash ({names[0]!r}), as those of '
            'YAML; write the names alone.'
        )
    return Vocabulary(names)


def load_vocabulary(
    source: Union[str, Path, Sequence[str], Vocabulary],
) -> Vocabulary:
    """Load a vocabulary by name, from a file, or from a list of names.

    A file is JSON, ``{"classes": [...], "groups": {...}, "prompts": [...]}``
    of which only the first is needed (or just a list), or plain text with one
    class name a line, blank lines skipped.

    Args:
        source (str | Path | Sequence[str] | Vocabulary): Name of a
            vocabulary of the package (:func:`list_vocabularies`), path of a
            file, or class names. A :class:`Vocabulary` is passed on.

    Returns:
        Vocabulary: Checked classes, groups and prompts.

    Raises:
        DataError: ``source`` is neither a known name nor a file, or the file
            holds no legal vocabulary; the message names it.
        ValueError: The names are no legal vocabulary; see
            :class:`Vocabulary`.

    Examples:
        >>> load_vocabulary(['cat', 'dog']).prompts
        ('cat', 'dog')
    """
    if isinstance(source, Vocabulary):
        return source
    if isinstance(source, (str, Path)):
        path = _DATA_DIR / f'{source}.json'
        if isinstance(source, Path) or source not in list_vocabularies():
            path = Path(source)
        if not path.is_file():
            raise DataError(
                f'Vocabulary {str(source)!r} is neither a file nor one of '
                f'{", ".join(list_vocabularies())}.'
            )
        try:
            return _read(path)
        except ValueError as error:
            raise DataError(f'Vocabulary file {path}: {error}') from error
    return Vocabulary(tuple(source))


def find_groups(
    metainfo: Mapping[str, Any],
    source: Union[str, Mapping[str, Sequence[str]], None] = None,
) -> Dict[str, Tuple[int, ...]]:
    """Look up the groups of a data set's classes.

    Args:
        metainfo (Mapping[str, Any]): That of the data set, with ``classes``.
        source (str | Mapping, optional): Where the groups are named: a
            vocabulary of the package, its file, or class names by group.
            Defaults to none: every ``{group}_classes`` of the metainfo
            (``thing_classes`` of mmdet's panoptic COCO, say) or, where there
            is none, the vocabulary of the package that has these classes.

    Returns:
        Dict[str, Tuple[int, ...]]: Ascending labels of the classes of each
        group; classes that the data set does not have are left out, and
        groups without any.

    Raises:
        DataError: If there is no such vocabulary, or a text stands where the
            classes of a group must be listed.
    """
    classes = tuple(metainfo['classes'])
    end = '_classes'
    if isinstance(source, str):
        groups = load_vocabulary(source).groups
    elif source is not None:
        groups = source
    else:
        groups = {
            key[: -len(end)]: names
            for key, names in metainfo.items()
            if key.endswith(end)
        }
        for name in () if groups else list_vocabularies():
            known = load_vocabulary(name)
            if known.classes == classes:
                groups = known.groups
    for group, names in groups.items():
        if isinstance(names, str):  # `('dog')` is one
            raise DataError(
                f'the classes of group {group!r} are a text, not a list of '
                f'names: write [{names!r}]'
            )
    found = {
        group: tuple(i for i, name in enumerate(classes) if name in names)
        for group, names in groups.items()
    }
    return {group: labels for group, labels in found.items() if labels}
