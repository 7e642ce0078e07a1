"""What was measured beside what was published: one table a protocol, in the
terminal, as Markdown and as a page."""

import json
import os.path as osp
import re
from typing import Any, Dict, List, Mapping, NamedTuple, Optional, Sequence

import matplotlib as mpl
from matplotlib.figure import Figure
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from harmoclip_mm.evaluation.functional import interval_of_difference
from harmoclip_mm.visualization.pages import CHART_STYLE, save_page, svg_uri

from .protocols import Protocol, choose_protocols, config_folder
from .results_file import Results

# Of colour-blind people's palettes (Okabe and Ito): measured, published.
_MEASURED, _PUBLISHED = '#0072b2', '#d55e00'


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
            key, interval = protocol.figures[heading], ()
            if all(key in each for each in draws):
                interval = interval_of_difference(*(x[key] for x in draws))
            change = values[heading] - before[heading]
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
                (line.name, line.source): sum(
                    line.cells[each].value for each in score
                )
                / len(score)
                for line in [*table.measured, *table.published]
                if all(each in line.cells for each in score)
            }
        )
    points = [
        dict(name=name, source=source, local=value, overall=scores[1][key])
        for key, value in scores[0].items()
        for name, source in [key]
        if key in scores[1]
    ]
    return dict(local=axes[0], overall=axes[1], points=points)


def show_results(
    console: Console,
    rows: Sequence[Mapping[str, Any]],
    protocols: Sequence[Protocol],
) -> None:
    """Print one table: figures by protocol, checkpoints side by side.

    Args:
        console (Console): Where to.
        rows (Sequence[Mapping]): Of :func:`benchmark`.
        protocols (Sequence[Protocol]): What they are of.
    """
    tables = make_tables(rows, protocols)
    # all protocols have a row of each checkpoint
    names = [line.name for line in tables[0].lines]
    published = [line.source for each in tables for line in each.published]
    sources = list(dict.fromkeys(published))
    shown = Table('protocol', 'figure', title='percent')
    for name in _short_names(names):
        shown.add_column(escape(name), justify='right')
    if sources:
        shown.add_column('published [source]', style='dark_orange3')
    for table in tables:
        name = table.protocol.name
        if table.limit is not None:
            name += f', first {table.limit}'
        if not table.measured:
            cells = ['skipped'] * len(names)
            shown.add_row(name, '', *cells, style='dim', end_section=True)
            continue
        for heading in table.protocol.figures:
            cells = [
                f'{line.cells[heading].value:.2f}'
                if heading in line.cells
                else '-'
                for line in table.lines
            ]
            if sources:
                cells.append(_say_published(table, heading, sources))
            shown.add_row(name, heading, *cells)
            name = ''
        shown.add_section()
    console.print(shown)
    for number, source in enumerate(sources, 1):
        text = f'[dark_orange3]{escape(f"[{number}] {source}")}'
        console.print(text, soft_wrap=True)
    for table in tables:
        for reason in dict.fromkeys(x.skipped for x in table.lines):
            own = [line.name for line in table.lines if line.skipped == reason]
            of = '' if own == names else f' of {", ".join(own)}'
            if reason:
                console.print(
                    f'[yellow]skipped: {table.protocol.name}{escape(of)}: '
                    f'{escape(reason)}',
                    soft_wrap=True,
                )


def _short_names(names: Sequence[str]) -> List[str]:
    """Names of files without their folders, where these tell as much."""
    # "ViT 4x128/16, 224 px" is a CLIP without a name, and no file in a folder
    short = [re.split(r'/(?!\d+, \d+ px)', name)[-1] or name for name in names]
    return short if len({*short}) == len({*names}) else list(names)


def _say_published(
    table: ProtocolTable, heading: str, sources: List[str]
) -> str:
    """Lowest and highest of each source; the page has all."""
    lines = []
    for number, source in enumerate(sources, 1):
        found = [
            line.cells[heading].value
            for line in table.published
            if line.source == source and heading in line.cells
        ]
        if found:
            ends = dict.fromkeys(f'{f(found):.1f}' for f in (min, max))
            lines.append(f'{" to ".join(ends)} [{number}]')
    return escape('\n'.join(lines))


def write_report(
    folder: str,
    rows: Sequence[Mapping[str, Any]],
    results: Results,
    protocols: Sequence[Protocol] = (),
) -> None:
    """Write ``report.md`` and ``report.html``.

    Args:
        folder (str): Where to; it is made.
        rows (Sequence[Mapping]): Of :func:`benchmark`, the first checkpoint
            first.
        results (Results): Where draws of the figures are kept.
        protocols (Sequence[Protocol]): Those that are not of the suites.
            Defaults to none.
    """
    every = {x.name: x for x in [*choose_protocols('full'), *protocols]}
    tables = make_tables(rows, list(every.values()), results)
    pareto = pareto_points(tables)
    chart = _pareto_chart(pareto) if pareto else None
    measured = [row for row in rows if 'skipped' not in row]
    for kind in ('html', 'md'):
        save_page(
            osp.join(folder, f'report.{kind}'),
            f'benchmark_report.{kind}.j2',
            'Benchmark',
            'results.jsonl',
            tables=tables,
            checkpoints={row['checkpoint']: row for row in measured or rows},
            pareto=pareto,
            chart=chart,
        )


@mpl.rc_context(CHART_STYLE)
def _pareto_chart(pareto: Mapping[str, Any]) -> str:
    """``data:`` URI of an SVG: local against global figures."""
    figure = Figure((6.4, 4.4), layout='constrained')
    axes = figure.subplots()
    for is_own, color, marker, label in (
        (False, _PUBLISHED, '^', 'published, by source'),
        (True, _MEASURED, 'o', 'measured'),
    ):
        points = [x for x in pareto['points'] if is_own != bool(x['source'])]
        places = [(point['overall'], point['local']) for point in points]
        names = [point['name'] for point in points]
        if places:
            axes.scatter(
                *zip(*places), color=color, marker=marker, label=label
            )
        names = _short_names(names) if is_own else names
        for name, place in zip(names, places):
            axes.annotate(
                name.replace('$', r'\$'),
                place,
                xytext=(4, 4),
                textcoords='offset points',
                color=color,
                fontsize=8,
            )
    # no measured checkpoint is above and to the right of these
    places = sorted({*places})
    front = [
        place
        for number, place in enumerate(places)
        if all(place[1] > local for _, local in places[number + 1 :])
    ]
    if front:
        axes.step(*zip(*front), where='pre', color=_MEASURED, alpha=0.4)
    for set_label, protocol in (
        (axes.set_xlabel, pareto['overall']),
        (axes.set_ylabel, pareto['local']),
    ):
        score = ' and '.join(protocol.score)
        if len(protocol.score) > 1:
            score = f'mean of {score}'
        set_label(f'{protocol.task}: {score}, %')
    axes.grid(alpha=0.3)
    axes.margins(0.2, 0.15)
    axes.spines[['top', 'right']].set_visible(False)
    axes.legend(frameon=False)
    return svg_uri(figure)
