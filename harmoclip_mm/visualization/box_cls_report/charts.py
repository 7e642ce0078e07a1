"""Pictures of the page as ``data:`` URIs: charts, and boxes cut out."""

import base64
import io
from typing import Callable, Optional, Sequence

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from PIL import Image

from harmoclip_mm.evaluation.functional import ReliabilityBins

from ..drawing import WRONG_COLOR, draw_regions
from .figures import Share

__all__ = ['box_thumbnail', 'reliability_chart', 'size_chart']

_BLUE, _DARK_BLUE, _ORANGE, _GREY = '#9cc7e4', '#0072b2', '#d55e00', '#56606b'
# Without random ids, so that equal results give equal pages.
_STYLE = {'svg.hashsalt': 'harmoclip_mm', 'font.size': 9}


def _data_uri(data: bytes, kind: str) -> str:
    return f'data:image/{kind};base64,' + base64.b64encode(data).decode()


def _chart(draw: Callable[[Axes, Axes], None], width: float) -> str:
    """A chart of accuracies in percent above and numbers of boxes below."""
    with mpl.rc_context(_STYLE):
        figure = Figure((width, 4.2), layout='constrained')
        upper, lower = figure.subplots(
            2, sharex=True, gridspec_kw=dict(height_ratios=(5, 1))
        )
        draw(upper, lower)
        upper.set_ylim(0, 100)
        upper.grid(axis='y', alpha=0.3)
        lower.set_ylabel('boxes')
        lower.locator_params(axis='y', nbins=3, integer=True)
        for axes in (upper, lower):
            axes.set_axisbelow(True)
            axes.spines[['top', 'right']].set_visible(False)
        upper.legend(
            loc='lower left', bbox_to_anchor=(0, 1), ncols=2, frameon=False
        )
        data = io.BytesIO()
        figure.savefig(
            data, format='svg', transparent=True, metadata={'Date': None}
        )
    return _data_uri(data.getvalue(), 'svg+xml')


def reliability_chart(bins: ReliabilityBins) -> str:
    """Reliability diagram: accuracy against probability, counts below.

    Args:
        bins (ReliabilityBins): The bins.

    Returns:
        str: ``data:`` URI of an SVG.
    """
    filled = bins.counts > 0
    left, width = 100 * bins.edges[:-1][filled], 100 / len(bins.counts)
    accuracy = 100 * bins.accuracy[filled]
    gap = 100 * bins.confidence[filled] - accuracy
    style = dict(align='edge', edgecolor='white', linewidth=0.8)

    def draw(upper: Axes, lower: Axes) -> None:
        upper.bar(
            left, accuracy, width, color=_BLUE, label='accuracy', **style
        )
        for color, name, height in (
            (_ORANGE, 'surer than right', gap.clip(min=0)),
            (_DARK_BLUE, 'less sure than right', gap.clip(max=0)),
        ):
            upper.bar(
                left, height, width, accuracy, color=color, label=name, **style
            )
        upper.plot(
            *([0, 100], [0, 100]),
            color='black',
            lw=1,
            ls='--',
            label='perfect calibration',
        )
        upper.set_ylabel('accuracy, %')
        lower.bar(left, bins.counts[filled], width, color=_GREY, **style)
        lower.set_xlim(0, 100)
        lower.set_xlabel('probability of the predicted class, %')

    return _chart(draw, 4.6)


def size_chart(sizes: Sequence[Share]) -> str:
    """Accuracy by size of the box, with 95 % intervals.

    Args:
        sizes (Sequence[Share]): Top-1 in ranges of sizes.

    Returns:
        str: ``data:`` URI of an SVG.
    """
    places = np.arange(len(sizes))
    shares = np.array([[each.share, *each.interval] for each in sizes])
    shares = 100 * np.nan_to_num(shares)
    middle, low, high = shares.T
    # Rounding may put the end of an interval on the other side of its bar.
    errors = np.clip([middle - low, high - middle], 0, None)

    def draw(upper: Axes, lower: Axes) -> None:
        upper.bar(places, middle, 0.8, color=_BLUE, label='Top-1')
        upper.errorbar(
            *(places, middle, errors), fmt='none', ecolor='black', capsize=3,
            label='95 % interval',
        )  # fmt: skip
        upper.set_ylabel('Top-1, %')
        lower.bar(places, [each.boxes for each in sizes], 0.8, color=_GREY)
        names = [each.name for each in sizes]
        lower.set_xticks(places, names, rotation=45, ha='right')
        lower.set_xlabel('side of a square of the same area, px')

    return _chart(draw, 1.6 + 0.3 * max(len(sizes), 7))


def box_thumbnail(
    path: str, box: Sequence[float], side: int = 176, context: float = 2.0
) -> Optional[str]:
    """Cut a box with its surroundings out of an image.

    Args:
        path (str): The image file.
        box (Sequence[float]): xyxy in px of the image as it is stored.
        side (int): Longer side of the picture in px. Defaults to 176.
        context (float): Side of the cut in longer sides of the box. Defaults
            to 2.0.

    Returns:
        str: ``data:`` URI of a JPEG with the box outlined; None where the
        file cannot be read or the box is outside of it.
    """
    try:
        with Image.open(path) as file:
            image = file.convert('RGB')
    except (OSError, ValueError):
        return None
    side_of_cut = context * max(box[2] - box[0], box[3] - box[1], 8)
    ends = []  # of a square around the box, moved so that it is in the image
    for low, high, limit in zip(box[:2], box[2:], image.size):
        start = max(
            0, min((low + high - side_of_cut) / 2, limit - side_of_cut)
        )
        ends.append(
            (int(start), min(limit, int(np.ceil(start + side_of_cut))))
        )
    (left, right), (top, bottom) = ends
    if right <= left or bottom <= top:
        return None
    cut = image.crop((left, top, right, bottom))
    factor = side / max(cut.size)
    new_size = [max(1, round(length * factor)) for length in cut.size]
    cut = cut.resize(new_size, Image.LANCZOS if factor < 1 else Image.BICUBIC)
    moved = np.subtract(box, [left, top, left, top])
    drawn = draw_regions(np.asarray(cut), [moved], [''], [WRONG_COLOR], factor)
    data = io.BytesIO()
    Image.fromarray(drawn).save(data, 'JPEG', quality=78, optimize=True)
    return _data_uri(data.getvalue(), 'jpeg')
