"""Charts as inline SVG, coloured by the style sheet of the page."""

from html import escape
from typing import List, Sequence

import numpy as np

from harmoclip_mm.evaluation.functional import ReliabilityBins, wilson_interval

__all__ = ['reliability_chart', 'size_chart', 'size_name']

_LEFT, _TOP, _PLOT = 66, 12, 300


def _svg(width: int, height: int, title: str, parts: Sequence[str]) -> str:
    return (
        f'<svg viewBox="0 0 {width} {height}" width="{width}" '
        f'height="{height}" role="img" aria-label="{escape(title)}">'
        + ''.join(parts)
        + '</svg>'
    )


def _rect(x, y, width, height, kind: str, title: str = '') -> str:
    inner = f'<title>{escape(title)}</title>' if title else ''
    return (
        f'<rect class="{kind}" x="{x:.1f}" y="{y:.1f}" width="{width:.1f}" '
        f'height="{max(height, 0):.1f}">{inner}</rect>'
    )


def _line(x1, y1, x2, y2, kind: str) -> str:
    return (
        f'<line class="{kind}" x1="{x1:.1f}" y1="{y1:.1f}" x2="{x2:.1f}" '
        f'y2="{y2:.1f}"/>'
    )


def _text(x, y, text: str, anchor: str = 'middle', more: str = '') -> str:
    return (
        f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}" {more}>'
        f'{escape(text)}</text>'
    )


def _percent_axis(width: float, label: str) -> List[str]:
    """Grid lines at 0 to 100 percent with their numbers."""
    parts = []
    for percent in range(0, 101, 20):
        y = _TOP + _PLOT * (1 - percent / 100)
        parts.append(_line(_LEFT, y, _LEFT + width, y, 'grid'))
        parts.append(_text(_LEFT - 8, y + 4, str(percent), 'end'))
    middle = _TOP + _PLOT / 2
    turn = f'transform="rotate(-90 14 {middle})"'
    parts.append(_text(14, middle, label, 'middle', turn))
    return parts


def reliability_chart(bins: ReliabilityBins) -> str:
    """Reliability diagram: accuracy against probability, counts below.

    Args:
        bins (ReliabilityBins): The bins.

    Returns:
        str: An ``<svg>`` element.
    """
    step, strip = _PLOT / len(bins.counts), 56
    base, bottom = _TOP + _PLOT, _TOP + _PLOT + 34 + 56
    parts = _percent_axis(_PLOT, 'accuracy, %')
    largest = max(bins.counts.max(), 1)
    for i, count in enumerate(bins.counts):
        if not count:
            continue
        x, accuracy = _LEFT + i * step, bins.accuracy[i]
        confidence = bins.confidence[i]
        title = (
            f'probability {bins.edges[i]:.2f} to {bins.edges[i + 1]:.2f}: '
            f'{count} boxes, mean probability {100 * confidence:.1f} %, '
            f'accuracy {100 * accuracy:.1f} %'
        )
        low, high = sorted((accuracy, confidence))
        parts += [
            _rect(
                *(x + 1, base - _PLOT * accuracy, step - 2),
                *(_PLOT * accuracy, 'bar', title),
            ),
            _rect(
                *(x + 1, base - _PLOT * high, step - 2),
                *(_PLOT * (high - low), 'gap', title),
            ),
        ]
        tall = strip * count / largest
        parts.append(
            _rect(x + 1, bottom - tall, step - 2, tall, 'count', title)
        )
    parts.append(_line(_LEFT, base, _LEFT + _PLOT, _TOP, 'ideal'))
    for percent in range(0, 101, 20):
        x = _LEFT + _PLOT * percent / 100
        parts.append(_text(x, base + 18, str(percent)))
    parts.append(_line(_LEFT, bottom, _LEFT + _PLOT, bottom, 'grid'))
    parts.append(_text(_LEFT - 8, bottom - strip + 10, str(largest), 'end'))
    parts.append(_text(_LEFT - 8, bottom, '0', 'end'))
    middle = bottom - strip / 2
    turn = f'transform="rotate(-90 14 {middle})"'
    parts.append(_text(14, middle, 'boxes', 'middle', turn))
    label = 'probability of the predicted class, %'
    parts.append(_text(_LEFT + _PLOT / 2, bottom + 22, label))
    return _svg(
        *(_LEFT + _PLOT + 16, bottom + 34),
        'Reliability diagram: accuracy against probability in '
        f'{len(bins.counts)} bins; the table below has the numbers',
        parts,
    )


def size_name(low: float, high: float) -> str:
    """Name of a range of sides.

    Args:
        low (float): Lower end in px.
        high (float): Upper end in px, may be infinite.

    Returns:
        str: Such as '32 to 48' or 'from 512'.
    """
    if np.isinf(high):
        return f'from {low:g}'
    return f'{low:g} to {high:g}'


def size_chart(sizes: Sequence[tuple]) -> str:
    """Accuracy by size of the box, with 95 % intervals.

    Args:
        sizes (Sequence[tuple]): (name, lower end, upper end, hits, boxes),
            ends in px of a square's side.

    Returns:
        str: An ``<svg>`` element.
    """
    step = min(96.0, max(44.0, 560 / len(sizes)))
    width = step * len(sizes)
    base = _TOP + _PLOT
    parts = _percent_axis(width, 'Top-1, %')
    hits = np.array([row[3] for row in sizes])
    counts = np.array([row[4] for row in sizes])
    lows, highs = wilson_interval(hits, counts)
    for i, (_, start, end, hit, count) in enumerate(sizes):
        middle = _LEFT + (i + 0.5) * step
        name = f'{start:g}+' if np.isinf(end) else f'{start:g}-{end:g}'
        parts.append(_text(middle, base + 18, name))
        parts.append(_text(middle, base + 35, f'n={count}', more='class="n"'))
        if not count:
            continue
        share = hit / count
        title = (
            f'side {size_name(start, end)} px: {hit} of {count} right, '
            f'{100 * share:.1f} % (95 % interval {100 * lows[i]:.1f} to '
            f'{100 * highs[i]:.1f})'
        )
        tall = _PLOT * share
        parts.append(
            _rect(
                middle - step / 3, base - tall, step / 1.5, tall, 'bar', title
            )
        )
        low, high = base - _PLOT * lows[i], base - _PLOT * highs[i]
        parts.append(_line(middle, low, middle, high, 'whisker'))
        for y in (low, high):
            parts.append(_line(middle - 5, y, middle + 5, y, 'whisker'))
    label = 'side of a square of the same area, px'
    parts.append(_text(_LEFT + width / 2, base + 58, label))
    return _svg(
        *(round(_LEFT + width + 16), base + 68),
        'Top-1 accuracy against the size of the box; the table below has the '
        'numbers',
        parts,
    )
