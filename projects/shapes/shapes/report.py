"""Report of methods trained on shapes: figures, table and picture."""

from pathlib import Path
from typing import Any, Dict, List, Mapping, Sequence

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator
from PIL import Image
from rich.table import Table

from harmoclip_mm.errors import UsageError
from harmoclip_mm.text import Vocabulary, load_vocabulary
from harmoclip_mm.visualization.drawing import (
    RIGHT_COLOR,
    SOFT,
    WRONG_COLOR,
    draw_regions,
    draw_text,
)

from .plan import QUICKSTART_NAMES as METHOD_NAMES
from .scenes import VOCABULARY

__all__ = [
    'FIGURES',
    'chance_levels',
    'collect_figures',
    'draw_shapes_report',
    'make_table',
]

# Key of a report: (name on screen, metric of tools/test.py).
FIGURES = {
    'box_top1': ('Box Top-1, all', 'box_cls/top1'),
    'box_top1_base': ('Box Top-1, base', 'box_cls/base_top1'),
    'box_top1_novel': ('Box Top-1, novel', 'box_cls/novel_top1'),
    'retrieval_i2t_r1': ('Image to text R@1', 'retrieval/i2t_r1'),
    'retrieval_t2i_r1': ('Text to image R@1', 'retrieval/t2i_r1'),
}
# The control is grey, the method has the colour.
COLORS = {'clip': (154, 163, 173), 'harmoclip': (29, 111, 209)}
# Sides of a test image and of the space around it, and all together, px.
_CELL, _GAP = 324, 22
_WIDTH = 5 * (_CELL + _GAP) + _GAP


def collect_figures(metrics: Mapping[str, float]) -> Dict[str, float]:
    """Take the figures of a report from the metrics of a test.

    Args:
        metrics (Mapping[str, float]): Of a test.

    Returns:
        dict[str, float]: The figures by their keys in the report, in percent.

    Raises:
        UsageError: If a metric is absent or undefined; names all of them.
    """
    missing = [m for _, m in FIGURES.values() if metrics.get(m) is None]
    if missing:
        raise UsageError(f'the test gave no {", ".join(missing)}')
    return {key: metrics[metric] for key, (_, metric) in FIGURES.items()}


def chance_levels(num_images: int) -> Dict[str, float]:
    """What guessing reaches.

    Args:
        num_images (int): Test images, each with one caption.

    Returns:
        dict[str, float]: Percent by the keys of ``FIGURES``.
    """
    classes = len(load_vocabulary(VOCABULARY).classes)
    return {
        key: 100 / (classes if key.startswith('box') else num_images)
        for key in FIGURES
    }


def _duration(seconds: float) -> str:
    minutes, rest = divmod(round(seconds), 60)
    return f'{minutes}:{rest:02d} min'


def make_table(report: Mapping[str, Any]) -> Table:
    """Both methods side by side.

    Args:
        report (Mapping): ``clip``, ``harmoclip`` and ``settings`` as in
            ``report.json``.

    Returns:
        Table: For the terminal.
    """
    clip, harmo = (report[method] for method in METHOD_NAMES)
    tested = report['settings']['images']['test']
    chance = chance_levels(tested)
    table = Table(title=f'Shapes, {tested} test images, in percent')
    table.add_column('')
    for name in ('chance', *METHOD_NAMES.values(), 'difference'):
        table.add_column(name, justify='right')
    for key, (name, _) in FIGURES.items():
        table.add_row(
            name,
            f'{chance[key]:.2f}',
            f'{clip[key]:.2f}',
            f'[bold]{harmo[key]:.2f}[/bold]',
            f'{harmo[key] - clip[key]:+.2f}',
            end_section=key == 'box_top1_novel',
        )
    table.add_section()
    a, b = clip['train_seconds'], harmo['train_seconds']
    table.add_row(
        'Training time', '', _duration(a), _duration(b), f'x {b / a:.2f}'
    )
    return table


def select_examples(
    results: Mapping[str, Sequence[Mapping[str, Any]]],
    preferred: Sequence[int],
    count: int = 5,
) -> List[Dict[str, Mapping[str, Any]]]:
    """Take test images by a rule that does not look at predictions.

    The first images, in the order of their ids, with a box of a preferred
    class; where these are too few, the first other images with boxes.

    Args:
        results (Mapping[str, Sequence[dict]]): Records of each method as
            ``tools/test.py --out`` writes them, of the same test.
        preferred (Sequence[int]): Classes to see.
        count (int): Number of images. Defaults to 5.

    Returns:
        list[dict[str, dict]]: At most ``count`` images, each with the record
        of each method.
    """
    by_id = {
        method: {record['img_id']: record for record in records}
        for method, records in results.items()
    }
    first = next(iter(by_id.values()))
    labels = {i: each['gt_instances']['labels'] for i, each in first.items()}
    ids = sorted(i for i in first if len(labels[i]))
    # Stable, so that the ids stay in order.
    ids.sort(key=lambda i: not np.isin(labels[i], preferred).any())
    return [{m: by_id[m][i] for m in by_id} for i in ids[:count]]


def draw_example(
    record: Mapping[str, Any], vocabulary: Vocabulary, side: int = _CELL
) -> np.ndarray:
    """Draw a test image with what a method calls its boxes, blue where right.

    Args:
        record (Mapping): Of the results.
        vocabulary (Vocabulary): The classes; novel ones get a star.
        side (int): Side of the picture in px. Defaults to that of a report's
            cell.

    Returns:
        np.ndarray: RGB uint8 (side, side, 3).
    """
    image = Image.open(record['img_path']).convert('RGB')
    names = vocabulary.classes
    tags, colors = [], []
    for true, guess in zip(*_labels(record)):
        novel = names[true] in vocabulary.groups['novel']
        tags.append(names[guess] + (' \N{BLACK STAR}' if novel else ''))
        colors.append(RIGHT_COLOR if guess == true else WRONG_COLOR)
    return draw_regions(
        np.asarray(image.resize((side, side), Image.BICUBIC)),
        record['gt_instances']['bboxes'],
        tags,
        colors,
        scale=side / image.width,
        font_size=14,
    )


def _labels(record: Mapping[str, Any]) -> List[List[int]]:
    """True and predicted classes of the boxes."""
    groups = ('gt_instances', 'pred_instances')
    return [np.asarray(record[group]['labels']).tolist() for group in groups]


def plot_bars(
    axes: Axes, report: Mapping[str, Any], groups: Mapping[str, str]
) -> None:
    """Draw figures of both methods, and the chance level.

    Args:
        axes (Axes): Where to draw.
        report (Mapping): As for :func:`make_table`.
        groups (Mapping[str, str]): Keys of figures, and names for them.
    """
    chance = chance_levels(report['settings']['images']['test'])
    levels = [chance[key] for key in groups]
    places = np.arange(len(groups))
    for i, (method, name) in enumerate(METHOD_NAMES.items()):
        values = [report[method][key] for key in groups]
        color = np.divide(COLORS[method], 255)
        bars = axes.bar(
            *(places + 0.38 * (i - 0.5), values, 0.36), label=name, color=color
        )
        # Above the dashed line, which would strike it through.
        for bar, value, level in zip(bars, values, levels):
            axes.annotate(
                f'{value:.1f}',
                (bar.get_x() + bar.get_width() / 2, max(value, level)),
                xytext=(0, 5),
                textcoords='offset points',
                ha='center',
                fontweight='bold' if i else 'normal',
            )
    axes.hlines(
        *(levels, places - 0.44, places + 0.44), linestyles='--',
        colors=[np.divide(WRONG_COLOR, 255)],
    )  # fmt: skip
    names = [f'{groups[key]}\nchance {chance[key]:.3g} %' for key in groups]
    axes.set_xticks(places, names)
    axes.tick_params(length=0)
    axes.yaxis.set_major_locator(MaxNLocator(6, steps=[1, 2, 5, 10]))
    axes.yaxis.set_major_formatter('{x:.0f} %')
    axes.grid(axis='y', alpha=0.3)
    axes.set_axisbelow(True)
    axes.spines[['top', 'right', 'left']].set_visible(False)
    axes.margins(y=0.12)


def _draw_figures(report: Mapping[str, Any], vocabulary: Vocabulary):
    """Bars of all figures, RGB uint8 (h, width, 3)."""
    counts = {name: len(group) for name, group in vocabulary.groups.items()}
    total, tested = len(vocabulary), report['settings']['images']['test']
    panels = {
        f'What is in the box?  Top-1 of {total} classes': {
            'box_top1': f'all {total} classes',
            'box_top1_base': f'{counts["base"]} base classes',
            'box_top1_novel': f'{counts["novel"]} novel classes',
        },
        f'Who belongs together?  R@1 of {tested}': {
            'retrieval_i2t_r1': 'image to text',
            'retrieval_t2i_r1': 'text to image',
        },
    }
    with mpl.rc_context({'font.size': 14}):
        figure = Figure((_WIDTH / 100, 4.8), 100, layout='constrained')
        canvas = FigureCanvasAgg(figure)
        plots = figure.subplots(
            1, 2, sharey=True, gridspec_kw=dict(width_ratios=(3, 2))
        )
        for axes, (title, groups) in zip(plots, panels.items()):
            plot_bars(axes, report, groups)
            axes.set_title(title, loc='left', fontweight='bold', pad=14)
            axes.tick_params(labelleft=True)
        plots[0].legend(
            loc='lower right', bbox_to_anchor=(1, 1), ncols=2, frameon=False
        )
        figure.get_layout_engine().set(w_pad=_GAP / 100)
        canvas.draw()
    return np.asarray(canvas.buffer_rgba())[..., :3]


def draw_shapes_report(
    report: Mapping[str, Any],
    predictions: Mapping[str, Sequence[Mapping[str, Any]]],
    out_file: Path,
) -> None:
    """Draw the figures as bars, and test images with predicted classes.

    Args:
        report (Mapping): As for :func:`make_table`; of the settings,
            ``steps``, ``batch_size``, ``image_size``, ``images`` and ``seed``
            are told.
        predictions (Mapping[str, Sequence[dict]]): For ``clip`` and
            ``harmoclip`` the records that ``--out`` wrote.
        out_file (Path): PNG file to write.
    """
    vocabulary = load_vocabulary(VOCABULARY)
    novel = [
        vocabulary.classes.index(name) for name in vocabulary.groups['novel']
    ]
    examples = select_examples(predictions, novel)
    settings = report['settings']

    def write(words: str, size: int = 18, **kwargs) -> None:
        indent = _GAP - size // 2  # the margin of a drawn text
        drawn = draw_text(words, _WIDTH - indent, size, **kwargs)
        ends = ((0, 0), (indent, 0), (0, 0))
        parts.append(np.pad(drawn, ends, constant_values=255))

    parts: List[np.ndarray] = []
    write('HarmoCLIP and CLIP on shapes', 36, bold=True)
    write(
        f'From the same start, after the same {settings["steps"]} steps of '
        f'{settings["batch_size"]} images of {settings["image_size"]} px. '
        f'Seed {settings["seed"]}, {settings["images"]["test"]} test images.',
        ink=SOFT,
    )
    parts.append(_draw_figures(report, vocabulary))
    write(
        'The first test images with a novel class  (\N{BLACK STAR} a '
        'combination that no training image holds)',
        20,
        bold=True,
    )
    for method, name in METHOD_NAMES.items():
        row = np.full((_CELL, _WIDTH, 3), 255, np.uint8)
        right = count = 0
        for i, example in enumerate(examples):
            left = _GAP + i * (_CELL + _GAP)
            cell = draw_example(example[method], vocabulary)
            row[:, left : left + _CELL] = cell
            true, guesses = map(np.asarray, _labels(example[method]))
            right, count = right + (true == guesses).sum(), count + len(true)
        words = f'{name}: {right} of {count} boxes right'
        write(words, ink=COLORS[method], bold=True)
        parts.append(row)
    write(
        'Tags are the class predicted for the given box: blue is right, '
        'orange is wrong. Dashed orange lines: guessing.',
        ink=SOFT,
    )
    out_file.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.concatenate(parts)).save(out_file, optimize=True)
