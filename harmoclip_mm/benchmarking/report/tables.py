"""One table a protocol: measured figures, differences, published figures."""

import json
from typing import Any, Dict, List, Mapping, NamedTuple, Optional, Sequence

from harmoclip_mm.evaluation.functional import interval_of_difference

from ..protocols import Protocol, config_folder
from ..results_file import Results


class Cell(NamedTuple):
    """A figure in percent, and its difference to the first checkpoint.

    Attributes:
        value (float): The figure.
        change (float, optional): The difference, in percentage points; None
            for the first checkpoint and for published figures.
        low (float, optional): Lower end of its 95 % interval; None where
            nothing is known of it.
        high (float, optional): Upper end.
    """

    value: float
    change: Optional[float] = None
    low: Optional[float] = None
    high: Optional[float] = None

    @property
    def is_clear(self) -> bool:
        """Whether 0 lies outside the interval."""
        return self.low is not None and not self.low <= 0 <= self.high

    @property
    def difference(self) -> str:
        """The difference in words; '' if there is none."""
        if self.change is None:
            return ''
        text = f'{self.change:+.2f}'
        if self.low is not None:
            text += f' ({self.low:+.2f} to {self.high:+.2f})'
        return text


class Line(NamedTuple):
    """A line of a table.

    Attributes:
        name (str): Checkpoint, or model of a paper.
        cells (Dict[str, Cell]): Figures by heading.
        source (str): Where they were published; '' if they are measured.
            Figures compare within a source alone.
        url (str): Where they stand.
        skipped (str): Why there are no figures; '' if there are.
    """

    name: str
    cells: Mapping[str, Cell]
    source: str = ''
    url: str = ''
    skipped: str = ''


class ProtocolTable(NamedTuple):
    """The table of a protocol.

    Attributes:
        protocol (Protocol): The protocol.
        lines (List[Line]): Checkpoints, in the order they were given.
        published (List[Line]): Figures of papers, by source.
        limit (int, optional): Samples that were measured, if not all.
    """

    protocol: Protocol
    lines: List[Line]
    published: List[Line]
    limit: Optional[int]

    @property
    def measured(self) -> List[Line]:
        """Lines of checkpoints with figures."""
        return [line for line in self.lines if not line.skipped]


class ParetoPoint(NamedTuple):
    """A point of the picture.

    Attributes:
        name (str): Checkpoint, or model.
        source (str): Where it was published; '' if it is measured.
        local (float): Figure of the local protocol, percent.
        overall (float): Figure of the global protocol, percent.
    """

    name: str
    source: str
    local: float
    overall: float


def read_published() -> List[Dict[str, Any]]:
    """Figures of papers, kept in ``configs/evaluation/``.

    Returns:
        List[Dict[str, Any]]: ``protocol``, ``model``, ``figures`` by key in
        percent, ``source`` and ``url`` of each.
    """
    text = (config_folder() / 'published.jsonl').read_text()
    return [json.loads(line) for line in text.splitlines()]


def make_tables(
    rows: Sequence[Mapping[str, Any]],
    protocols: Sequence[Protocol],
    results: Optional[Results] = None,
) -> List[ProtocolTable]:
    """Make the tables.

    Args:
        rows (Sequence[Mapping]): Of :func:`benchmark`.
        protocols (Sequence[Protocol]): What they are of.
        results (Results, optional): Where draws of the figures are kept, for
            intervals. Defaults to none.

    Returns:
        List[ProtocolTable]: Those that have rows. Of a part of the data
        nothing published is beside it.
    """
    facts = sorted(read_published(), key=lambda fact: fact['source'])
    tables = []
    for protocol in protocols:
        own = [row for row in rows if row['protocol'] == protocol.name]
        if not own:
            continue
        limit = own[0]['limit']
        published = [
            Line(
                fact['model'],
                {
                    heading: Cell(fact['figures'][key])
                    for heading, key in protocol.figures.items()
                    if key in fact['figures']
                },
                fact['source'],
                fact['url'],
            )
            for fact in facts
            if fact['protocol'] == protocol.name and limit is None
        ]
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
    cells = {heading: Cell(value) for heading, value in values.items()}
    if row is not first and 'skipped' not in first:
        draws = [results.draws(x) if results else {} for x in (first, row)]
        before = protocol.headline(first['figures'])
        for heading in values.keys() & before.keys():
            key, change = (
                protocol.figures[heading],
                values[heading] - before[heading],
            )
            interval = ()
            if all(key in each for each in draws):
                interval = interval_of_difference(*(x[key] for x in draws))
            cells[heading] = Cell(values[heading], change, *interval)
    return Line(row['checkpoint'], cells)


def pareto_points(
    tables: Sequence[ProtocolTable],
) -> Optional[Dict[str, Any]]:
    """Checkpoints by a local and a global protocol.

    Of each kind the protocol of most checkpoints is taken, the first of
    equal ones; of each the mean of the figures of its ``score``.

    Args:
        tables (Sequence[ProtocolTable]): The tables.

    Returns:
        dict: ``local`` and ``overall``, the two protocols, and ``points``;
        None if there is no protocol of one kind.
    """
    axes, scores = [], []
    for kind in ('local', 'global'):
        own = [t for t in tables if t.protocol.kind == kind and t.measured]
        if not own:
            return None
        quick = [t for t in own if t.protocol.quick] or own
        table = max(quick, key=lambda table: len(table.measured))
        score = table.protocol.score
        axes.append(table.protocol)
        scores.append(
            {
                line[:1] + line[2:3]: sum(line.cells[x].value for x in score)
                / len(score)
                for line in [*table.measured, *table.published]
                if all(each in line.cells for each in score)
            }
        )
    points = [
        ParetoPoint(*model, value, scores[1][model])
        for model, value in scores[0].items()
        if model in scores[1]
    ]
    return dict(local=axes[0], overall=axes[1], points=points)
