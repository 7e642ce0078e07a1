"""The page: one HTML file that loads nothing."""

from html import escape
from pathlib import Path
from string import Template
from typing import List, Union

from .charts import reliability_chart, size_chart
from .summary import BoxClsSummary, BoxPredictions
from .tables import (
    bins_table,
    class_table,
    coco_table,
    fine_table,
    group_table,
    pair_table,
)
from .thumbnails import box_thumbnail

__all__ = ['write_page']

_TEMPLATE = Path(__file__).with_name('template.html')


def _tiles(boxes: BoxPredictions, summary: BoxClsSummary) -> str:
    values = {f'Top-{k}, %': summary.accuracy[f'top{k}'] for k in summary.topk}
    values['macro Top-1, %'] = summary.accuracy['macro_top1']
    values['ECE, %'] = 100 * summary.ece
    shown = {name: f'{value:.1f}' for name, value in values.items()}
    shown['boxes'] = f'{len(boxes.labels):,}'
    shown['images'] = f'{len(boxes.paths):,}'
    return ''.join(
        f'<div><dt>{name}</dt><dd>{value}</dd></div>'
        for name, value in shown.items()
    )


def _figure(boxes: BoxPredictions, index: int, summary: BoxClsSummary) -> str:
    """A wrongly classified box with what it is and what it was called."""
    names = summary.vocabulary.classes
    image = boxes.images[index]
    true = escape(names[boxes.labels[index]])
    called = escape(names[boxes.topk_labels[index, 0]])
    percent = f'{100 * boxes.scores[index]:.0f} %'
    picture = box_thumbnail(boxes.paths[image], boxes.bboxes[index])
    if picture is None:
        shown = '<div class="absent">image not found</div>'
    else:
        alt = f'{true} in its box, taken for {called}'
        shown = f'<img src="{picture}" alt="{alt}">'
    return (
        f'<li><figure>{shown}<figcaption><b>{called}</b> {percent}<br>'
        f'image {escape(str(boxes.image_ids[image]))}</figcaption></figure>'
        '</li>'
    )


def _worst(
    boxes: BoxPredictions, summary: BoxClsSummary, num_pictures: int
) -> str:
    if not summary.worst:
        return '<p>Every box got its class.</p>'
    parts: List[str] = [
        f'<p>The classes of lowest Top-1 among those with at least '
        f'{summary.min_boxes} boxes, and their surest mistakes: what the box '
        'was called, and with which probability.</p>'
    ]
    for label, wrong in summary.worst:
        name = escape(summary.vocabulary.classes[label])
        count = summary.counts[label]
        right = summary.hits[label, 0]
        parts.append(
            f'<h3>{name} <span class="soft">{100 * right / count:.1f} % '
            f'({right} of {count})</span></h3>'
        )
        figures = [_figure(boxes, i, summary) for i in wrong[:num_pictures]]
        parts.append(f'<ul class="pictures">{"".join(figures)}</ul>')
    return '\n'.join(parts)


def write_page(
    out_file: Union[str, Path],
    boxes: BoxPredictions,
    summary: BoxClsSummary,
    source: str,
    title: str = 'Box classification',
    num_pairs: int = 20,
    num_pictures: int = 6,
) -> None:
    """Write the page.

    Args:
        out_file (str | Path): The file; its folder is made.
        boxes (BoxPredictions): The boxes.
        summary (BoxClsSummary): Their figures.
        source (str): Where the predictions come from, told on the page.
        title (str): Heading. Defaults to 'Box classification'.
        num_pairs (int): Number of confused pairs. Defaults to 20.
        num_pictures (int): Pictures of each of the worst classes. Defaults
            to 6.
    """
    counts, bins = summary.counts, summary.bins
    without = int((counts == 0).sum())
    absent = f'{without} of {len(counts)} classes have no box.'
    if not without:
        absent = f'All {len(counts)} classes have boxes.'
    if summary.pairs.counts.size:
        table = pair_table(summary, num_pairs)
        confusions = f'<div class="scroll">{table}</div>'
    else:
        confusions = '<p>Every box got its class.</p>'
    page = Template(_TEMPLATE.read_text(encoding='utf-8')).substitute(
        title=escape(title),
        subtitle=f'Each given box is classified among {len(counts)} classes: '
        f'{len(boxes.labels):,} boxes in {len(boxes.paths):,} images, from '
        f'{escape(source)}.',
        source=escape(source),
        tiles=_tiles(boxes, summary),
        groups=group_table(summary),
        size_chart=size_chart(summary.fine_sizes),
        coco_table=coco_table(summary),
        fine_table=fine_table(summary),
        ece=f'{100 * summary.ece:.1f}',
        mce=f'{100 * summary.mce:.1f}',
        bins_note=f'{len(bins.counts)} bins of equal width over the '
        'probability of the predicted class, upper ends included; ECE is the '
        'mean gap between accuracy and mean probability, weighted by boxes.',
        reliability=reliability_chart(bins),
        bins_table=bins_table(summary),
        worst=_worst(boxes, summary, num_pictures),
        confusions=confusions,
        absent=absent,
        class_table=class_table(summary),
    )
    out_file = Path(out_file)
    out_file.parent.mkdir(parents=True, exist_ok=True)
    out_file.write_text(page, encoding='utf-8')
