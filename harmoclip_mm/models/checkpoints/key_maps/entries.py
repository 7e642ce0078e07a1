"""Rules that take a weight from one naming to another, and back.

A format is a list of entries, read from left to right when a checkpoint is
exported and from right to left when it is loaded: one list serves both, so
the two directions cannot come apart.
"""

from typing import Callable, Dict, Iterable, List, NamedTuple, Sequence, Tuple

import torch
from torch import Tensor


class Rule(NamedTuple):
    """How the values of a weight differ between two namings.

    Attributes:
        load (Callable): Their tensors to ours, views where possible.
        save (Callable): Ours to a tuple of theirs.
    """

    load: Callable[[Sequence[Tensor]], Tensor]
    save: Callable[[Tensor], Tuple[Tensor, ...]]


class Entry(NamedTuple):
    """One weight under two names; ``{i}`` stands for the block's number.

    Attributes:
        ours (str): Name in ``HarmoCLIP``.
        theirs (Tuple[str, ...]): Names of what it is made of.
        rule (Rule): How the values correspond.
    """

    ours: str
    theirs: Tuple[str, ...]
    rule: Rule


SAME = Rule(lambda t: t[0], lambda t: (t,))
TRANSPOSED = Rule(lambda t: t[0].t(), lambda t: (t.t(),))
# (C,) <-> (1, 1, C) and (N, C) <-> (1, N, C)
CLS_TOKEN = Rule(lambda t: t[0].reshape(1, 1, -1), lambda t: (t.flatten(),))
POSITIONS = Rule(lambda t: t[0][None], lambda t: (t[0],))
# a scalar, which some write with shape (1,)
SCALAR = Rule(lambda t: t[0].reshape(()), lambda t: (t.reshape(()),))
# query, key and value (or gate and hidden) on top of one another
STACKED3 = Rule(lambda t: torch.cat(list(t)), lambda t: t.chunk(3))
STACKED2 = Rule(lambda t: torch.cat(list(t)), lambda t: t.chunk(2))


def pair(
    ours: str, *theirs: str, rule: Rule = SAME, kinds=('weight', 'bias')
) -> List[Entry]:
    """Entries for the weight and the bias of a layer.

    Args:
        ours (str): Name of the layer in ``HarmoCLIP``.
        *theirs (str): Names of the layers it is made of.
        rule (Rule): How the values correspond. Defaults to ``SAME``.
        kinds (Sequence[str]): Last parts of the names. Defaults to weight
            and bias.

    Returns:
        List[Entry]: One entry for each kind.
    """
    return [
        Entry(
            f'{ours}.{kind}', tuple(f'{name}.{kind}' for name in theirs), rule
        )
        for kind in kinds
    ]


def prefixed(
    entries: Iterable[Entry], ours: str = '', theirs: str = ''
) -> List[Entry]:
    """Puts prefixes before the names of entries.

    Args:
        entries (Iterable[Entry]): The entries.
        ours (str): Prefix of our names. Defaults to none.
        theirs (str): Prefix of their names. Defaults to none.

    Returns:
        List[Entry]: The entries with longer names.
    """
    return [
        entry._replace(
            ours=ours + entry.ours,
            theirs=tuple(theirs + name for name in entry.theirs),
        )
        for entry in entries
    ]


def expand(entries: Iterable[Entry], names: Iterable[str]) -> List[Entry]:
    """Repeats the entries of blocks for the blocks that there are.

    Args:
        entries (Iterable[Entry]): Entries, some with ``{i}``.
        names (Iterable[str]): Names of the weights there are, ours or
            theirs.

    Returns:
        List[Entry]: Entries without ``{i}``.
    """
    names = list(names)
    expanded: List[Entry] = []
    counts: Dict[str, int] = {}
    for entry in entries:
        if '{i}' not in entry.ours:
            expanded.append(entry)
            continue
        count = 0
        for template in (entry.ours, *entry.theirs):
            stem = template.split('{i}')[0]
            if stem not in counts:
                counts[stem] = _count_blocks(stem, names)
            count = max(count, counts[stem])
        for index in range(count):
            expanded.append(
                entry._replace(
                    ours=entry.ours.replace('{i}', str(index)),
                    theirs=tuple(
                        name.replace('{i}', str(index))
                        for name in entry.theirs
                    ),
                )
            )
    return expanded


def _count_blocks(stem: str, names: Iterable[str]) -> int:
    numbers = [
        int(name[len(stem) :].split('.')[0])
        for name in names
        if name.startswith(stem) and name[len(stem) :].split('.')[0].isdigit()
    ]
    return max(numbers) + 1 if numbers else 0
