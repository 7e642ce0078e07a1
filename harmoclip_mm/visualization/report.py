"""Picture that compares two methods: their figures, and what they see."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Dict, List, Mapping, Optional, Sequence

import mmcv
import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator
from PIL import Image

from .drawing import RIGHT_COLOR, WRONG_COLOR, draw_regions

__all__ = [
    'BarPanel',
    'Example',
    'draw_report',
    'plot_bars',
    'select_examples',
]

# The control is grey, the method has the colour.
METHOD_COLORS = ('#9aa3ad', '#1d6fd1', '#e07b18', '#7a4fb5')
RIGHT_HEX, WRONG_HEX = (
    '#{:02x}{:02x}{:02x}'.format(*color)
    for color in (RIGHT_COLOR, WRONG_COLOR)
)
_INK, _SOFT, _GRID = '#212529', '#6b747d', '#e6e9ec'
# Pixels: pictures are drawn 1:1, so their tags stay sharp.
_DPI, _CELL, _GAP, _LEFT, _RIGHT = 100, 324, 22, 84, 34
_TOP, _BARS, _HEAD, _FOOT = 164, 400, 122, 66
_ROW = _CELL + 34  # a picture and the line below it


@dataclass
class BarPanel:
    """Figures of several methods that share one question.

    Attributes:
        title (str): The question.
        groups (Sequence[str]): G names of the groups of bars.
        values (Mapping[str, Sequence[float]]): G figures of each method, in
            percent.
        chance (Sequence[float]): G figures of guessing, in percent.
    """

    title: str
    groups: Sequence[str]
    values: Mapping[str, Sequence[float]]
    chance: Sequence[float]


@dataclass
class Example:
    """An image with what each method calls its boxes.

    Attributes:
        image (np.ndarray): RGB uint8 (H, W, 3).
        bboxes (np.ndarray): (N, 4) xyxy in px of the image.
        labels (np.ndarray): (N,) true classes.
        predictions (Dict[str, np.ndarray]): (N,) classes by each method.
    """

    image: np.ndarray
    bboxes: np.ndarray
    labels: np.ndarray
    predictions: Dict[str, np.ndarray]


def select_examples(
    results: Mapping[str, Sequence[Mapping[str, Any]]],
    preferred: Sequence[int] = (),
    count: int = 5,
) -> List[Example]:
    """Take test images by a rule that does not look at predictions.

    The first images, in the order of their ids, with a box of a preferred
    class; where these are too few, the first other images with boxes.

    Args:
        results (Mapping[str, Sequence[dict]]): Records of each method as
            ``tools/test.py --out`` writes them.
        preferred (Sequence[int]): Classes to see. Defaults to none.
        count (int): Number of images. Defaults to 5.

    Returns:
        list[Example]: At most ``count`` examples.

    Raises:
        ValueError: If the methods were not tested on the same boxes.
    """
    by_id = {
        name: {record['img_id']: record for record in records}
        for name, records in results.items()
    }
    first = next(iter(by_id.values()))
    if any(records.keys() != first.keys() for records in by_id.values()):
        raise ValueError('the methods were tested on different images')
    labels = {
        img_id: np.asarray(record['gt_instances']['labels'])
        for img_id, record in first.items()
    }
    ids = sorted(img_id for img_id in first if len(labels[img_id]))
    seen = [i for i in ids if np.isin(labels[i], list(preferred)).any()]
    chosen = (seen + [i for i in ids if i not in set(seen)])[:count]
    examples = []
    for img_id in chosen:
        predictions = {}
        for name, records in by_id.items():
            record = records[img_id]
            truth = np.asarray(record['gt_instances']['labels'])
            if not np.array_equal(truth, labels[img_id]):
                raise ValueError(
                    f'the methods were tested on different boxes of image '
                    f'{img_id}'
                )
            predictions[name] = np.asarray(record['pred_instances']['labels'])
        record = first[img_id]
        examples.append(
            Example(
                mmcv.imread(record['img_path'], channel_order='rgb'),
                np.asarray(record['gt_instances']['bboxes']),
                labels[img_id],
                predictions,
            )
        )
    return examples


def plot_bars(ax: Axes, panel: BarPanel, top: float) -> None:
    """Draw a panel as grouped bars with their figures, and the chance level.

    Args:
        ax (Axes): Where to draw.
        panel (BarPanel): What to draw.
        top (float): Upper end of the axis in percent.

    Raises:
        ValueError: If the numbers of groups and figures differ.
    """
    count = len(panel.groups)
    for name, values in [*panel.values.items(), ('chance', panel.chance)]:
        if len(values) != count:
            raise ValueError(
                f'{name} has {len(values)} figures for {count} groups'
            )
    width = 0.76 / len(panel.values)
    places = np.arange(count)
    for i, (name, values) in enumerate(panel.values.items()):
        bars = ax.bar(
            places + (i - (len(panel.values) - 1) / 2) * width,
            values,
            width * 0.94,
            label=name,
            color=METHOD_COLORS[i % len(METHOD_COLORS)],
            zorder=3,
        )
        for bar, value, chance in zip(bars, values, panel.chance):
            ax.annotate(
                f'{value:.1f}',
                # Above the dashed line, which would strike it through.
                (bar.get_x() + bar.get_width() / 2, max(value, chance)),
                xytext=(0, 5),
                textcoords='offset points',
                ha='center',
                fontsize=15,
                fontweight='bold' if i else 'normal',
                color=_INK,
                zorder=5,
            )
    ax.hlines(
        panel.chance,
        places - 0.44,
        places + 0.44,
        colors=WRONG_HEX,
        linestyles=(0, (4, 2)),
        linewidth=1.6,
        zorder=4,
    )
    names = [
        f'{group}\nchance {chance:.3g} %'
        for group, chance in zip(panel.groups, panel.chance)
    ]
    ax.set_xticks(places, names, fontsize=13, color=_INK, linespacing=1.5)
    ax.set_xlim(-0.6, count - 0.4)
    ax.set_ylim(0, top)
    ax.set_title(
        panel.title,
        loc='left',
        fontsize=15,
        fontweight='bold',
        color=_INK,
        pad=14,
    )
    ax.tick_params(axis='both', length=0, pad=7)
    ax.tick_params(axis='y', labelcolor=_SOFT, labelsize=12)
    ax.yaxis.set_major_locator(MaxNLocator(6, steps=[1, 2, 5, 10]))
    ax.yaxis.set_major_formatter('{x:.0f} %')
    ax.grid(axis='y', color=_GRID, zorder=0)
    for side in ('top', 'right', 'left'):
        ax.spines[side].set_visible(False)
    ax.spines['bottom'].set_color(_SOFT)


def draw_example(
    example: Example,
    method: str,
    classes: Sequence[str],
    starred: Sequence[int] = (),
    side: int = _CELL,
) -> np.ndarray:
    """Draw an image with what a method calls its boxes, blue where right.

    Args:
        example (Example): The image.
        method (str): Whose predictions.
        classes (Sequence[str]): Names of the classes.
        starred (Sequence[int]): True classes whose boxes get a star. Defaults
            to none.
        side (int): Side of the picture in px. Defaults to that of a report's
            cell.

    Returns:
        np.ndarray: RGB uint8 (side, side, 3), the image on white.
    """
    height, width = example.image.shape[:2]
    factor = side / max(height, width)
    size = (round(width * factor), round(height * factor))
    picture = Image.fromarray(example.image).resize(size, Image.BICUBIC)
    guesses = example.predictions[method]
    drawn = draw_regions(
        np.asarray(picture),
        example.bboxes,
        [
            classes[guess] + (' \N{BLACK STAR}' if true in starred else '')
            for guess, true in zip(guesses, example.labels)
        ],
        [
            RIGHT_COLOR if guess == true else WRONG_COLOR
            for guess, true in zip(guesses, example.labels)
        ],
        scale=factor,
        font_size=14,
    )
    canvas = np.full((side, side, 3), 255, np.uint8)
    top, left = (side - size[1]) // 2, (side - size[0]) // 2
    canvas[top : top + size[1], left : left + size[0]] = drawn
    return canvas


def draw_report(
    out_file: Path,
    title: str,
    subtitle: str,
    panels: Sequence[BarPanel],
    examples: Sequence[Example],
    classes: Sequence[str],
    heading: str = '',
    starred: Sequence[int] = (),
    note: Optional[str] = None,
) -> None:
    """Write the picture: bars above, a row of images for each method below.

    Args:
        out_file (Path): PNG file to write.
        title (str): Headline.
        subtitle (str): Line below it, e.g. the settings.
        panels (Sequence[BarPanel]): Bars, side by side; all of the same
            methods.
        examples (Sequence[Example]): Images, one a column.
        classes (Sequence[str]): Names of the classes.
        heading (str): What the images are. Defaults to ''.
        starred (Sequence[int]): Classes whose boxes get a star. Defaults to
            none.
        note (str, optional): Small print at the end. Defaults to none.
    """
    methods = list(panels[0].values)
    columns = max(len(examples), 5)
    width = _LEFT + columns * (_CELL + _GAP) - _GAP + _RIGHT
    rows = len(methods) if examples else 0
    height = _TOP + _BARS + _HEAD + rows * _ROW + _FOOT
    figure = Figure((width / _DPI, height / _DPI), _DPI, facecolor='white')
    canvas = FigureCanvasAgg(figure)

    def text(x: float, y: float, words: str, **kwargs) -> None:
        kwargs = {'color': _INK, 'va': 'center', **kwargs}
        figure.text(x / width, 1 - y / height, words, **kwargs)

    def axes(x: float, y: float, w: float, h: float) -> Axes:
        box = (x / width, 1 - (y + h) / height, w / width, h / height)
        return figure.add_axes(box)

    text(_LEFT - 50, 44, title, fontsize=27, fontweight='bold')
    text(_LEFT - 50, 86, subtitle, fontsize=14, color=_SOFT)
    highest = max(
        max(values) for panel in panels for values in panel.values.values()
    )
    # Whole tens, with room for the figure on the highest bar.
    top = max(10.0, 10 * np.ceil(highest * 1.1 / 10))
    groups = sum(len(panel.groups) for panel in panels)
    gap = 80
    each = (width - _LEFT - _RIGHT - gap * (len(panels) - 1)) / groups
    left = float(_LEFT)
    for panel in panels:
        ax = axes(left, _TOP, each * len(panel.groups), _BARS - 30)
        plot_bars(ax, panel, top)
        left += each * len(panel.groups) + gap
    handles, names = ax.get_legend_handles_labels()
    figure.legend(
        handles,
        names,
        loc='upper right',
        bbox_to_anchor=(1 - _RIGHT / width, 1 - 24 / height),
        ncols=len(methods),
        frameon=False,
        fontsize=16,
        handlelength=1.1,
        handleheight=1.1,
    )

    y = _TOP + _BARS + _HEAD
    if examples:
        text(_LEFT, y - 34, heading, fontsize=15, fontweight='bold')
    for row, method in enumerate(methods[:rows]):
        color = METHOD_COLORS[row % len(METHOD_COLORS)]
        text(
            _LEFT - 30,
            y + row * _ROW + _CELL / 2,
            method,
            fontsize=17,
            fontweight='bold',
            color=color if row else _SOFT,
            rotation=90,
            ha='center',
        )
        for column, example in enumerate(examples):
            x = _LEFT + column * (_CELL + _GAP)
            ax = axes(x, y + row * _ROW, _CELL, _CELL)
            picture = draw_example(example, method, classes, starred)
            ax.imshow(picture, interpolation='none', aspect='auto')
            ax.set_axis_off()
            right = int(np.sum(example.predictions[method] == example.labels))
            count = len(example.labels)
            text(
                x,
                y + row * _ROW + _CELL + 14,
                f'{right} of {count} right',
                fontsize=12,
                color=RIGHT_HEX if right == count else _SOFT,
            )
    if note:
        text(_LEFT, height - 30, note, fontsize=12, color=_SOFT)
    out_file.parent.mkdir(parents=True, exist_ok=True)
    canvas.print_png(str(out_file))
