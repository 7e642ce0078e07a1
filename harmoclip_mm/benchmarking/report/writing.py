"""The tables in the terminal, as Markdown and as a page."""

import os.path as osp
from typing import Any, List, Mapping, Sequence

import matplotlib as mpl
from matplotlib.figure import Figure
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from harmoclip_mm.visualization.pages import CHART_STYLE, save_page, svg_uri

from ..protocols import Protocol, choose_protocols
from ..results_file import Results
from .tables import ProtocolTable, make_tables, pareto_points

# Of colour-blind people's palettes (Okabe and Ito): measured, published.
_MEASURED, _PUBLISHED = '#0072b2', '#d55e00'


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
    names = [  # all protocols have a row of each
        row['checkpoint']
        for row in rows
        if row['protocol'] == rows[0]['protocol']
    ]
    published = [line.source for each in tables for line in each.published]
    sources = list(dict.fromkeys(published))
    shown = Table('protocol', 'figure', title='percent')
    for name in names:
        shown.add_column(escape(osp.basename(name) or name), justify='right')
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
    measured = [point for point in pareto['points'] if not point.source]
    published = [point for point in pareto['points'] if point.source]
    for own, color, marker, label in (
        (published, _PUBLISHED, '^', 'published, by source'),
        (measured, _MEASURED, 'o', 'measured'),
    ):
        for point in own:
            place = point.overall, point.local
            axes.scatter(*place, color=color, marker=marker, label=label)
            label = None  # one is enough
            name = point.name
            if not point.source:
                name = osp.basename(name) or name
            axes.annotate(
                name.replace('$', r'\$'),
                place,
                xytext=(4, 4),
                textcoords='offset points',
                color=color,
                fontsize=8,
            )
    # no measured checkpoint is above and to the right of these
    places = sorted({(point.overall, point.local) for point in measured})
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
