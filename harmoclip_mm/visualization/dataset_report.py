"""A page about a data set: figures, warnings, and samples to look at."""

from pathlib import Path
from typing import Any, Callable, Dict, List, Mapping, Sequence, Union

import matplotlib as mpl
import numpy as np
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator
from PIL import Image

from harmoclip_mm.datasets.figures import DatasetFigures
from harmoclip_mm.text import captions_of, phrases_of

from .pages import CHART_STYLE, jpeg_uri, save_page, svg_uri
from .region_text_visualizer import RegionTextVisualizer

_SIDE = 480  # px, longer side of a picture
_LONGEST = 5000  # characters of a caption; a JPEG has at most 65,500 rows


@mpl.rc_context(CHART_STYLE)
def histogram(values: Sequence[float], label: str, mark: float = 0) -> str:
    """Bars of how often values are, those above the 99 % quantile together.

    Args:
        values (Sequence[float]): The values, not negative.
        label (str): What they are.
        mark (float): A value to mark by a line. Defaults to 0: none.

    Returns:
        str: ``data:`` URI of an SVG.
    """
    values = np.asarray(values, dtype=float)
    end = max(np.quantile(values, 0.99), mark * 1.1, 1)
    whole = bool((values == values.round()).all())
    step = max(1, int(np.ceil(end / 40))) if whole else end / 40
    edges = np.arange(0, end + 1.5 * step, step) - (0.5 if whole else 0)
    figure = Figure((4.2, 2.5), layout='constrained')
    axes = figure.subplots()
    axes.hist(
        values.clip(max=edges[-1] - step / 2),
        edges,
        color='#9cc7e4',
        edgecolor='white',
        linewidth=0.6,
    )
    if mark:
        axes.axvline(mark, color='#d55e00', linewidth=1.5)
    axes.set_axisbelow(True)
    axes.grid(axis='y', alpha=0.3)
    axes.spines[['top', 'right']].set_visible(False)
    axes.xaxis.set_major_locator(MaxNLocator(6, integer=whole))
    axes.yaxis.set_major_locator(MaxNLocator(4, integer=True))
    axes.set_xlabel(label)
    return svg_uri(figure)


def _show(
    sample: Mapping[str, Any],
    load_image: Callable[[Mapping[str, Any]], np.ndarray],
    classes: Sequence[str],
) -> Dict[str, Any]:
    """Picture of a sample above its captions."""
    instances = sample.get('instances', [])
    captions = '\n'.join(captions_of(sample))[:_LONGEST]
    shown = {
        'name': Path(sample['img_path']).name,
        'captions': captions,
        'boxes': len(instances),
        'picture': None,
        'error': '',
    }
    try:
        image = Image.fromarray(load_image(sample))
    except Exception as error:  # each decoder has its own
        shown['error'] = str(error)
        return shown
    scale = _SIDE / max(image.size)
    picture = image.resize([max(round(scale * x), 1) for x in image.size])
    phrases = sample.get('phrases', {}).values()
    drawn = RegionTextVisualizer(shorter_side=0).draw_region_text(
        np.asarray(picture),
        [np.multiply(each['bbox'], scale) for each in instances],
        [each['bbox_label'] for each in instances],
        phrases_of(sample) or classes,
        captions,
        [each['tokens_positive'] for each in phrases],
    )
    shown['picture'] = jpeg_uri(drawn)
    return shown


def write_page(
    out_file: Union[str, Path],
    figures: DatasetFigures,
    samples: Sequence[Mapping[str, Any]],
    load_image: Callable[[Mapping[str, Any]], np.ndarray],
    source: str,
    total: int,
    classes: Sequence[str] = (),
    said: str = '',
) -> List[str]:
    """Write the page.

    Args:
        out_file (str | Path): The file; its folder is made.
        figures (DatasetFigures): What it tells.
        samples (Sequence[Mapping]): Of ``get_data_info``, to show.
        load_image (Callable): Gives the image of a sample as RGB uint8
            (H, W, 3); what it raises is told in the picture's place.
        source (str): Where the data come from, told on the page.
        total (int): Samples of the data set, of which figures may be fewer.
        classes (Sequence[str]): Names of labels where samples have no
            phrases. Defaults to none.
        said (str): Of what its boxes are. Defaults to nothing.

    Returns:
        list[str]: The warnings that stand on it.
    """
    shown = [_show(sample, load_image, classes) for sample in samples]
    bad = [each for each in shown if each['error']]
    warnings = figures.warnings()
    if bad:
        warnings.insert(
            0,
            f'{len(bad)} of the {len(shown)} images below cannot be read; the '
            f'first: {bad[0]["error"]}',
        )
    seen, charts = figures.model_input, []
    where = 'input' if seen else 'image'
    for values, label, mark in (
        (figures.boxes_each, 'boxes an image', 0),
        ([*figures.caption_words.elements()], 'words a caption', 0),
        ([*figures.phrase_words.elements()], 'words a phrase', 0),
        (
            figures.sides,
            f'side of a box, px of the {where}',
            (seen.cell or 0) if seen else 0,
        ),
    ):
        if len(values):
            charts.append((label, histogram(values, label, mark)))
    save_page(
        out_file,
        'dataset_report.html.j2',
        'Data set',
        source,
        figures=figures,
        total=total,
        said=said,
        warnings=warnings,
        charts=charts,
        frequent=figures.phrases.most_common(20),
        samples=shown,
    )
    return warnings
