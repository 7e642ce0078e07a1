"""Tables of the page as HTML."""

from html import escape
from typing import Any, Dict, List, NamedTuple, Optional, Sequence

import numpy as np

from harmoclip_mm.evaluation.functional import wilson_interval

from .charts import size_name
from .summary import BoxClsSummary

__all__ = [
    'bins_table',
    'class_table',
    'coco_table',
    'fine_table',
    'group_table',
    'pair_table',
]


class _Cell(NamedTuple):
    """A cell with what it is sorted by."""

    html: str
    value: float


def _number(value: float) -> _Cell:
    return _Cell(f'{value:,}', value)


def _percent(share: float) -> _Cell:
    """A share in [0, 1] in percent; NaN is a dash, sorted below all."""
    if np.isnan(share):
        return _Cell('-', -1)
    return _Cell(f'{100 * share:.1f}', share)


def _meter(share: float, bad: bool = False) -> _Cell:
    width = f'<i style="width:{100 * share:.1f}%"></i>'
    kind = 'meter bad' if bad else 'meter'
    html = f'{100 * share:.1f}<span class="{kind}">{width}</span>'
    return _Cell(html, share)


def _table(
    caption: str,
    header: Sequence[str],
    rows: Sequence[Sequence[Any]],
    table_id: Optional[str] = None,
) -> str:
    """A table; str cells are texts, the others numbers. The first cell of a
    row is its heading. With an id it can be sorted by its headings."""
    numeric = [rows and isinstance(cell, _Cell) for cell in (rows or [()])[0]]
    heads = []
    for i, name in enumerate(header):
        kind = ' class="num"' if i < len(numeric) and numeric[i] else ''
        name = escape(name)
        if table_id:
            name = f'<button type="button">{name}</button>'
        heads.append(f'<th scope="col"{kind}>{name}</th>')
    body = []
    for row in rows:
        cells = [f'<th scope="row">{escape(row[0])}</th>']
        for cell in row[1:]:
            if isinstance(cell, _Cell):
                cells.append(
                    f'<td class="num" data-value="{cell.value:.6g}">'
                    f'{cell.html}</td>'
                )
            else:
                cells.append(f'<td>{escape(cell)}</td>')
        body.append(f'<tr>{"".join(cells)}</tr>')
    kind = f' id="{table_id}" class="wide sortable"' if table_id else ''
    return (
        f'<table{kind}><caption>{escape(caption)}</caption>'
        f'<thead><tr>{"".join(heads)}</tr></thead>'
        '<tbody>' + '\n'.join(body) + '</tbody></table>'
    )


def group_table(summary: BoxClsSummary) -> str:
    """Accuracies of all boxes and of each group.

    Args:
        summary (BoxClsSummary): The figures.

    Returns:
        str: HTML; '' where the vocabulary has no group with a box.
    """
    groups: Dict[str, Sequence[int]] = {'all': range(len(summary.counts))}
    groups.update(summary.vocabulary.group_indices())
    keys = [f'{kind}top{k}' for kind in ('', 'macro_') for k in summary.topk]
    rows: List[list] = []
    for name, ids in groups.items():
        counts = summary.counts[list(ids)]
        if not counts.any():
            continue
        start = '' if name == 'all' else f'{name}_'
        values = [summary.accuracy[start + key] / 100 for key in keys]
        rows.append(
            [
                name,
                _number(int((counts > 0).sum())),
                _number(int(counts.sum())),
                *map(_percent, values),
            ]
        )
    if len(rows) < 2:
        return ''
    names = [f'Top-{k}' for k in summary.topk]
    names += [f'macro Top-{k}' for k in summary.topk]
    table = _table(
        'In percent; scored against all classes. Macro: mean over classes '
        'that have a box.',
        ['boxes of', 'classes with boxes', 'boxes', *names],
        rows,
    )
    return f'<div class="scroll">{table}</div>'


def coco_table(summary: BoxClsSummary) -> str:
    """Top-1 of small, medium and large boxes.

    Args:
        summary (BoxClsSummary): The figures.

    Returns:
        str: HTML.
    """
    rows = []
    for name, low, high, hits, count in summary.coco_sizes:
        ends = f'{low**0.5:g}² to {high**0.5:g}²'
        if np.isinf(high):
            ends = f'from {low**0.5:g}²'
        share = hits / count if count else np.nan
        rows.append([name, ends, _number(count), _percent(share)])
    return _table(
        "COCO's ranges", ['range', 'area, px', 'boxes', 'Top-1, %'], rows
    )


def _interval(hits: np.ndarray, counts: np.ndarray) -> List[_Cell]:
    """Cells such as '40.1 to 61.0', sorted by their lower end."""
    return [
        _Cell('-', -1)
        if np.isnan(low)
        else _Cell(f'{100 * low:.1f} to {100 * high:.1f}', low)
        for low, high in zip(*wilson_interval(hits, counts))
    ]


def fine_table(summary: BoxClsSummary) -> str:
    """Top-1 in finer steps of the size.

    Args:
        summary (BoxClsSummary): The figures.

    Returns:
        str: HTML.
    """
    hits = np.array([row[3] for row in summary.fine_sizes])
    counts = np.array([row[4] for row in summary.fine_sizes])
    rows = [
        [
            size_name(low, high),
            _number(count),
            _percent(hit / count if count else np.nan),
            interval,
        ]
        for (_, low, high, hit, count), interval in zip(
            summary.fine_sizes, _interval(hits, counts)
        )
    ]
    header = ['side, px', 'boxes', 'Top-1, %', '95 % interval']
    return _table('Side of a square of the same area', header, rows)


def bins_table(summary: BoxClsSummary) -> str:
    """The bins of the reliability diagram.

    Args:
        summary (BoxClsSummary): The figures.

    Returns:
        str: HTML.
    """
    bins = summary.bins
    rows = [
        [
            f'{100 * low:.1f} to {100 * high:.1f}',
            _number(int(count)),
            _percent(confidence),
            _percent(accuracy),
            _percent(abs(accuracy - confidence)),
        ]
        for low, high, count, confidence, accuracy in zip(
            bins.edges, bins.edges[1:], *bins[1:]
        )
    ]
    header = ['probability', 'boxes', 'mean probability', 'accuracy', 'gap']
    return _table('In percent', header, rows)


def pair_table(summary: BoxClsSummary, number: int) -> str:
    """The most frequent confusions.

    Args:
        summary (BoxClsSummary): The figures.
        number (int): How many at most.

    Returns:
        str: HTML.
    """
    pairs, names = summary.pairs, summary.vocabulary.classes
    both = dict(zip(zip(pairs.true, pairs.predicted), pairs.counts))
    rows = [
        [
            names[true],
            names[other],
            _number(int(count)),
            _meter(count / summary.counts[true], bad=True),
            _number(int(both.get((other, true), 0))),
        ]
        for true, other, count in list(zip(*pairs))[:number]
    ]
    header = [
        *('is', 'was called', 'boxes', '% of the class'),
        'boxes the other way round',
    ]
    caption = f'The {len(rows)} most frequent of {len(pairs.counts)} pairs'
    return _table(caption, header, rows, 'pair-table')


def class_table(summary: BoxClsSummary) -> str:
    """Every class that has a box.

    Args:
        summary (BoxClsSummary): The figures.

    Returns:
        str: HTML.
    """
    names = summary.vocabulary.classes
    members = {
        name: frozenset(ids)
        for name, ids in summary.vocabulary.group_indices().items()
    }
    intervals = _interval(summary.hits[:, 0], summary.counts)
    rows = []
    for label in np.flatnonzero(summary.counts):
        count, wrong = summary.counts[label], summary.taken_for[label]
        shares = summary.hits[label] / count
        often = int(summary.taken_counts[label])
        row = [names[label]]
        if members:
            row.append(', '.join(g for g in members if label in members[g]))
        row += [_number(int(count)), _meter(shares[0]), intervals[label]]
        row += map(_percent, shares[1:])
        row.append('' if wrong < 0 else f'{names[wrong]} ({often})')
        rows.append(row)
    header = ['class', *(['group'] if members else []), 'boxes', 'Top-1, %']
    header += ['95 % interval', *(f'Top-{k}, %' for k in summary.topk[1:])]
    header += ['most often taken for (boxes)']
    return _table('Classes with boxes', header, rows, 'class-table')
