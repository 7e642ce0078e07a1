"""The tables in the terminal, as Markdown and as a page."""

import os.path as osp
from pathlib import Path
from typing import Any, Dict, List, Mapping, Optional, Sequence

import matplotlib as mpl
from jinja2 import StrictUndefined, Template
from matplotlib.figure import Figure
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from harmoclip_mm.files import replacing
from harmoclip_mm.visualization.pages import CHART_STYLE, svg_uri, write_html

from ..protocols import Protocol, choose_protocols
from ..results_file import Results
from .tables import Change, ProtocolTable, make_tables, pareto_points

__all__ = ['show_results', 'write_report']

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
    names = list(dict.fromkeys(row['checkpoint'] for row in rows))
    sources = list(
        dict.fromkeys(source for each in tables for source in each.published)
    )
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
        for heading in table.headings:
            cells = [
                f'{line.values[heading]:.2f}'
                if heading in line.values
                else '-'
                for line in table.lines
            ]
            if sources:
                cells.append(_say_published(table, heading, sources))
            last = heading == table.headings[-1]
            shown.add_row(name, heading, *cells, end_section=last)
            name = ''
    console.print(shown)
    for number, source in enumerate(sources, 1):
        text = f'[dark_orange3]{escape(f"[{number}] {source}")}'
        console.print(text, soft_wrap=True)
    for table in tables:
        reasons: Dict[str, List[str]] = {}
        for line in table.lines:
            if line.skipped:
                reasons.setdefault(line.skipped, []).append(line.name)
        for reason, skipped in reasons.items():
            of = '' if skipped == names else f' of {", ".join(skipped)}'
            console.print(
                f'[yellow]skipped: {table.protocol.name}{escape(of)}: '
                f'{escape(reason)}',
                soft_wrap=True,
            )


def _say_published(
    table: ProtocolTable, heading: str, sources: Sequence[str]
) -> str:
    """Lowest and highest of each source; the page has all."""
    lines = []
    for source, own in table.published.items():
        found = [x.values[heading] for x in own if heading in x.values]
        if found:
            ends = dict.fromkeys(f'{f(found):.1f}' for f in (min, max))
            number = f'[{sources.index(source) + 1}]'
            lines.append(f'{" to ".join(ends)} {number}')
    return escape('\n'.join(lines))


def write_report(
    folder: str, rows: Sequence[Mapping[str, Any]], results: Results
) -> None:
    """Write ``report.md`` and ``report.html``.

    Args:
        folder (str): Where to; it is made.
        rows (Sequence[Mapping]): Of :func:`benchmark`, the first checkpoint
            first.
        results (Results): Where what the figures are means of is kept.
    """
    names = {row['protocol'] for row in rows}
    protocols = [x for x in choose_protocols('full') if x.name in names]
    tables = make_tables(rows, protocols, results)
    pareto = pareto_points(tables)
    measured = [row for row in rows if 'skipped' not in row]
    checkpoints = {row['checkpoint']: row for row in measured or rows}
    content = dict(
        tables=tables,
        checkpoints=checkpoints,
        pareto=pareto,
        chart=_pareto_chart(pareto) if pareto else None,
        change=_say_change,
        cell=lambda line, name: (
            f'{line.values[name]:.2f}' if name in line.values else '-'
        ),
    )
    here = Path(__file__).parent
    write_html(
        osp.join(folder, 'report.html'),
        here,
        'Benchmark',
        'results.jsonl',
        **content,
    )
    template = (here / 'report.md.j2').read_text(encoding='utf-8')
    text = Template(
        template,
        trim_blocks=True,
        lstrip_blocks=True,
        undefined=StrictUndefined,
    ).render(**content)
    with replacing(osp.join(folder, 'report.md')) as part:
        Path(part).write_text(text, encoding='utf-8')


def _say_change(change: Optional[Change]) -> str:
    if change is None:
        return ''
    text = f'{change.value:+.2f}'
    if change.low is not None:
        text += f' ({change.low:+.2f} to {change.high:+.2f})'
    return text


@mpl.rc_context(CHART_STYLE)
def _pareto_chart(pareto: Mapping[str, Any]) -> str:
    """``data:`` URI of an SVG: local against global figures."""
    figure = Figure((6.4, 4.4), layout='constrained')
    axes = figure.subplots()
    for published, color, marker, label in (
        (True, _PUBLISHED, '^', 'published, by source'),
        (False, _MEASURED, 'o', 'measured'),
    ):
        own = [p for p in pareto['points'] if p.published == published]
        if own:
            axes.scatter(
                [point.overall for point in own],
                [point.local for point in own],
                color=color,
                marker=marker,
                label=label,
            )
        for point in own:
            # its source is in the table below
            name = point.name.partition(' (')[0]
            if not published:
                name = osp.basename(point.name) or point.name
            axes.annotate(
                name.replace('$', r'\$'),
                (point.overall, point.local),
                xytext=(4, 4),
                textcoords='offset points',
                color=color,
                fontsize=8,
            )
    # no measured checkpoint is above and to the right of these
    own = [p for p in pareto['points'] if not p.published]
    front = [
        p
        for p in own
        if not any(
            q.local >= p.local and q.overall >= p.overall and q[1:3] != p[1:3]
            for q in own
        )
    ]
    front.sort(key=lambda point: point.overall)
    axes.step(
        [point.overall for point in front],
        [point.local for point in front],
        where='pre',
        color=_MEASURED,
        alpha=0.4,
    )
    for set_label, table in (
        (axes.set_xlabel, pareto['overall']),
        (axes.set_ylabel, pareto['local']),
    ):
        score = ' and '.join(table.protocol.score)
        if len(table.protocol.score) > 1:
            score = f'mean of {score}'
        set_label(f'{table.protocol.task}: {score}, %')
    axes.grid(alpha=0.3)
    axes.margins(0.2, 0.15)
    axes.spines[['top', 'right']].set_visible(False)
    axes.legend(frameon=False)
    return svg_uri(figure)
