"""A page about box classification: what is wrong, where, and how surely."""

import io
from pathlib import Path
from typing import Optional, Sequence, Tuple, Union

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from PIL import Image

from harmoclip_mm.datasets.shards import read_image
from harmoclip_mm.errors import DataError
from harmoclip_mm.evaluation.functional import Calibration

from .box_cls_figures import BoxClsFigures, Share
from .drawing import cut_region
from .pages import CHART_STYLE, jpeg_uri, save_page, svg_uri

# Worst classes that are shown, pictures of each of them, and confused pairs.
NUM_WORST, NUM_PICTURES, NUM_PAIRS = 8, 6, 20
# Classes of fewer boxes are not among the worst, unless all have fewer.
MIN_BOXES = 5
# Keys of ``run`` in a results file and what people call them.
_ORIGIN = {
    'config': 'Config',
    'checkpoint': 'Checkpoint',
    'ann_file': 'Annotations',
    'date': 'Tested',
}
_BLUE, _DARK_BLUE, _ORANGE, _GREY = '#9cc7e4', '#0072b2', '#d55e00', '#56606b'


def _axes(width: float) -> Tuple[Axes, Axes]:
    """Of accuracies in percent above and numbers of boxes below."""
    figure = Figure((width, 4.2), layout='constrained')
    upper, lower = figure.subplots(
        2, sharex=True, gridspec_kw=dict(height_ratios=(5, 1))
    )
    upper.set_ylim(0, 100)
    upper.grid(axis='y', alpha=0.3)
    lower.set_ylabel('boxes')
    for axes in (upper, lower):
        axes.set_axisbelow(True)
        axes.spines[['top', 'right']].set_visible(False)
    return upper, lower


def _save(upper: Axes, lower: Axes) -> str:
    lower.locator_params(axis='y', nbins=3, integer=True)
    upper.legend(
        loc='lower left', bbox_to_anchor=(0, 1), ncols=2, frameon=False
    )
    return svg_uri(upper.figure)


@mpl.rc_context(CHART_STYLE)
def reliability_chart(bins: Calibration) -> str:
    """Reliability diagram: accuracy against probability, counts below."""
    upper, lower = _axes(4.6)
    filled = bins.counts > 0
    left, width = 100 * bins.edges[:-1][filled], 100 / len(bins.counts)
    accuracy = 100 * bins.accuracy[filled]
    gap = 100 * bins.confidence[filled] - accuracy
    style = dict(align='edge', edgecolor='white', linewidth=0.8)
    for color, name, height, bottom in (
        (_BLUE, 'accuracy', accuracy, 0),
        (_ORANGE, 'surer than right', gap.clip(min=0), accuracy),
        (_DARK_BLUE, 'less sure than right', gap.clip(max=0), accuracy),
    ):
        style.update(color=color, label=name)
        upper.bar(left, height, width, bottom, **style)
    upper.plot([0, 100], [0, 100], 'k--', lw=1, label='perfect calibration')
    upper.set_ylabel('accuracy, %')
    style.update(color=_GREY)
    lower.bar(left, bins.counts[filled], width, **style)
    lower.set_xlim(0, 100)
    lower.set_xlabel('probability of the predicted class, %')
    return _save(upper, lower)


@mpl.rc_context(CHART_STYLE)
def size_chart(sizes: Sequence[Share]) -> str:
    """Accuracy by size of the box, with 95 % intervals."""
    upper, lower = _axes(1.6 + 0.3 * max(len(sizes), 7))
    places = np.arange(len(sizes))
    shares = np.array([[each.share, *each.interval] for each in sizes])
    middle, low, high = 100 * np.nan_to_num(shares).T
    # Rounding may put the end of an interval on the other side of its bar.
    errors = np.clip([middle - low, high - middle], 0, None)
    upper.bar(places, middle, 0.8, color=_BLUE, label='Top-1')
    style = dict(fmt='none', ecolor='black', capsize=3)
    upper.errorbar(places, middle, errors, label='95 % interval', **style)
    upper.set_ylabel('Top-1, %')
    lower.bar(places, [each.boxes for each in sizes], 0.8, color=_GREY)
    names = [each.name for each in sizes]
    lower.set_xticks(places, names, rotation=45, ha='right')
    lower.set_xlabel('side of a square of the same area, px')
    return _save(upper, lower)


def box_thumbnail(
    path: str, box: Sequence[float], side: int = 176
) -> Optional[str]:
    """Cut a box with its surroundings out of an image.

    Args:
        path (str): The image file, or tars and an image in them.
        box (Sequence[float]): xyxy in px of the image as it is stored.
        side (int): Longer side of the picture in px. Defaults to 176.

    Returns:
        str: ``data:`` URI of a JPEG with the box outlined; None where the
        file cannot be read.
    """
    try:
        image = Image.open(io.BytesIO(read_image(path))).convert('RGB')
    except (OSError, ValueError, DataError):
        return None
    return jpeg_uri(cut_region(np.asarray(image), box, side))


def write_page(
    out_file: Union[str, Path], figures: BoxClsFigures, source: str
) -> None:
    """Write the page: one HTML file that loads nothing.

    Args:
        out_file (str | Path): The file; its folder is made.
        figures (BoxClsFigures): What it tells.
        source (str): Where the predictions come from, told on the page.
    """
    most = max(each.boxes for each in figures.classes.values())
    min_boxes, run = min(MIN_BOXES, most), figures.records[0]['run']
    save_page(
        out_file,
        'box_cls_report.html.j2',
        'Box classification',
        source,
        origin={_ORIGIN[key]: run[key] for key in _ORIGIN if run.get(key)},
        figures=figures,
        size_chart=size_chart(figures.sizes()),
        reliability_chart=reliability_chart(figures.calibration),
        worst=figures.worst(NUM_WORST, min_boxes),
        thumbnail=box_thumbnail,
        min_boxes=min_boxes,
        num_pairs=NUM_PAIRS,
        num_pictures=NUM_PICTURES,
    )
