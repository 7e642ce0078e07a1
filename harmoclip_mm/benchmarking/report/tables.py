"""One table a protocol: measured figures, differences, published figures."""

import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Dict, List, Mapping, NamedTuple, Optional, Sequence

from harmoclip_mm.evaluation.functional import bootstrap_difference

from ..protocols import Protocol, published_figures_file
from ..results_file import Results

__all__ = [
    'Change',
    'Line',
    'ParetoPoint',
    'ProtocolTable',
    'make_tables',
    'pareto_points',
    'read_published',
]


class Change(NamedTuple):
    """A difference to the first checkpoint, in percentage points.

    Attributes:
        value (float): The difference.
        low (float, optional): Lower end of its 95 % interval; None for
            figures that are no means over images.
        high (float, optional): Upper end.
    """

    value: float
    low: Optional[float] = None
    high: Optional[float] = None

    @property
    def is_clear(self) -> bool:
        """Whether 0 lies outside the interval."""
        return self.low is not None and not self.low <= 0 <= self.high


@dataclass
class Line:
    """A line of a table.

    Attributes:
        name (str): Checkpoint, or model of a paper.
        values (Dict[str, float]): Percentages by heading.
        changes (Dict[str, Change]): By heading; none for the first
            checkpoint and for published figures.
        skipped (str): Why there are no values; '' if there are.
        url (str): Where published figures stand.
    """

    name: str
    values: Dict[str, float]
    changes: Dict[str, Change] = field(default_factory=dict)
    skipped: str = ''
    url: str = ''


@dataclass
class ProtocolTable:
    """The table of a protocol.

    Attributes:
        protocol (Protocol): The protocol.
        lines (List[Line]): Checkpoints, in the order they were given.
        published (Dict[str, List[Line]]): Figures of papers by source, which
            are compared within a source alone.
        limit (int, optional): Samples that were measured, if not all.
    """

    protocol: Protocol
    lines: List[Line]
    published: Dict[str, List[Line]]
    limit: Optional[int]

    @property
    def headings(self) -> List[str]:
        """Headings of the figures."""
        return list(self.protocol.figures)

    @property
    def measured(self) -> List[Line]:
        """Lines with values."""
        return [line for line in self.lines if not line.skipped]


class ParetoPoint(NamedTuple):
    """A point of the picture.

    Attributes:
        name (str): Checkpoint, or model and source.
        local (float): Figure of the local protocol, percent.
        overall (float): Figure of the global protocol, percent.
        published (bool): Whether a paper says so.
    """

    name: str
    local: float
    overall: float
    published: bool


def read_published(path: Optional[Path] = None) -> List[Dict[str, Any]]:
    """Figures of papers.

    Args:
        path (Path, optional): JSON lines. Defaults to those of
            ``configs/evaluation/``.

    Returns:
        List[Dict[str, Any]]: ``protocol``, ``model``, ``figures`` by key in
        percent, ``source`` and ``url`` of each.
    """
    path = path or published_figures_file()
    return [json.loads(line) for line in path.read_text().splitlines()]


def make_tables(
    rows: Sequence[Mapping[str, Any]],
    protocols: Sequence[Protocol],
    results: Optional[Results] = None,
) -> List[ProtocolTable]:
    """Make the tables.

    Args:
        rows (Sequence[Mapping]): Of :func:`benchmark`.
        protocols (Sequence[Protocol]): What they are of.
        results (Results, optional): Where what the figures are means of is
            kept, for intervals. Defaults to none.

    Returns:
        List[ProtocolTable]: Those that have rows. Of a part of the data
        nothing published is beside it.
    """
    facts = read_published()
    tables = []
    for protocol in protocols:
        own = [row for row in rows if row['protocol'] == protocol.name]
        if not own:
            continue
        limit = own[0]['limit']
        published: Dict[str, List[Line]] = {}
        for fact in facts if limit is None else ():
            if fact['protocol'] == protocol.name:
                values = {
                    heading: fact['figures'][key]
                    for heading, key in protocol.figures.items()
                    if key in fact['figures']
                }
                line = Line(fact['model'], values, url=fact['url'])
                published.setdefault(fact['source'], []).append(line)
        lines = [_line(row, own[0], protocol, results) for row in own]
        tables.append(ProtocolTable(protocol, lines, published, limit))
    return tables


def _line(
    row: Mapping[str, Any],
    first: Mapping[str, Any],
    protocol: Protocol,
    results: Optional[Results],
) -> Line:
    if 'skipped' in row:
        return Line(row['checkpoint'], {}, skipped=row['skipped'])
    values = protocol.headline(row['figures'])
    line = Line(row['checkpoint'], values)
    if row is first or 'skipped' in first:
        return line
    before = protocol.headline(first['figures'])
    for heading in values:
        if heading not in before:
            continue
        change = values[heading] - before[heading]
        interval = ()
        if results is not None:
            key = protocol.figures[heading]
            units = [results.units(each).get(key) for each in (first, row)]
            if None not in units:
                interval = bootstrap_difference(*units)
        line.changes[heading] = Change(change, *interval)
    return line


def pareto_points(
    tables: Sequence[ProtocolTable],
) -> Optional[Dict[str, Any]]:
    """Checkpoints by a local and a global protocol.

    Of each kind the protocol of most checkpoints is taken, the first of
    equal ones; of each the mean of the figures of its ``score``.

    Args:
        tables (Sequence[ProtocolTable]): The tables.

    Returns:
        dict: ``local`` and ``overall``, the two tables, and ``points``; None
        if there is no protocol of one kind.
    """
    axes = []
    for kind in ('local', 'global'):
        own = [t for t in tables if t.protocol.kind == kind and t.measured]
        if not own:
            return None
        quick = [t for t in own if t.protocol.quick] or own
        axes.append(max(quick, key=lambda table: len(table.measured)))
    points = []
    found = [_scores(table) for table in axes]
    for key in found[0]:
        if key in found[1]:
            name = key[1] if not key[0] else f'{key[1]} ({key[0]})'
            pair = found[0][key], found[1][key]
            points.append(ParetoPoint(name, *pair, bool(key[0])))
    return dict(local=axes[0], overall=axes[1], points=points)


def _scores(table: ProtocolTable) -> Dict[tuple, float]:
    """Of each model, by source ('' is measured here) and name."""
    lines = [('', line) for line in table.measured]
    for source, own in table.published.items():
        lines += [(source, line) for line in own]
    score = table.protocol.score
    return {
        (source, line.name): sum(line.values[x] for x in score) / len(score)
        for source, line in lines
        if all(each in line.values for each in score)
    }
