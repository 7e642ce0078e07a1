"""Report of methods trained on shapes: figures, table and picture."""

from pathlib import Path
from typing import Any, Dict, List, Mapping, Sequence

from rich.table import Table

from harmoclip_mm.text import load_vocabulary

from .report import BarPanel, draw_report, select_examples

__all__ = [
    'FIGURES',
    'METHOD_NAMES',
    'chance_levels',
    'collect_figures',
    'draw_shapes_report',
    'make_table',
]

# Keys of a report and what people call them.
METHOD_NAMES = {'clip': 'CLIP', 'harmoclip': 'HarmoCLIP'}
# Key of a report: (name on screen, metric of tools/test.py).
FIGURES = {
    'box_top1': ('Box Top-1, all', 'box_cls/top1'),
    'box_top1_base': ('Box Top-1, base', 'box_cls/base_top1'),
    'box_top1_novel': ('Box Top-1, novel', 'box_cls/novel_top1'),
    'retrieval_i2t_r1': ('Image to text R@1', 'retrieval/i2t_r1'),
    'retrieval_t2i_r1': ('Text to image R@1', 'retrieval/t2i_r1'),
}
VOCABULARY = 'shapes80'


def collect_figures(metrics: Mapping[str, float]) -> Dict[str, float]:
    """Take the figures of a report from the metrics of a test.

    Args:
        metrics (Mapping[str, float]): What ``--metrics-out`` wrote.

    Returns:
        dict[str, float]: The figures by their keys in the report, in percent.

    Raises:
        KeyError: If a metric is absent or undefined; names all of them.
    """
    missing = [m for _, m in FIGURES.values() if metrics.get(m) is None]
    if missing:
        raise KeyError(', '.join(missing))
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
    counts = {name: len(group) for name, group in vocabulary.groups.items()}
    novel = [vocabulary.classes.index(n) for n in vocabulary.groups['novel']]
    settings = report['settings']
    tested = settings['images']['test']
    chance = chance_levels(tested)

    def panel(title: str, groups: Dict[str, str]) -> BarPanel:
        values: Dict[str, List[float]] = {
            name: [report[method][key] for key in groups]
            for method, name in METHOD_NAMES.items()
        }
        return BarPanel(
            title, list(groups.values()), values, [chance[k] for k in groups]
        )

    boxes = {
        'box_top1': f'all {len(vocabulary.classes)} classes',
        'box_top1_base': f'{counts["base"]} base classes',
        'box_top1_novel': f'{counts["novel"]} novel classes',
    }
    pairs = {
        'retrieval_i2t_r1': 'image to text',
        'retrieval_t2i_r1': 'text to image',
    }
    draw_report(
        out_file,
        'HarmoCLIP and CLIP on shapes',
        f'From the same start, after the same {settings["steps"]} steps of '
        f'{settings["batch_size"]} images of {settings["image_size"]} px. '
        f'Seed {settings["seed"]}, {tested} test images.',
        [
            panel(
                'What is in the box?  Top-1 of '
                f'{len(vocabulary.classes)} classes',
                boxes,
            ),
            panel(f'Who belongs together?  R@1 of {tested}', pairs),
        ],
        select_examples(
            {name: predictions[m] for m, name in METHOD_NAMES.items()},
            preferred=novel,
        ),
        vocabulary.classes,
        'The first test images with a novel class  '
        '(\N{BLACK STAR} a combination that no training image holds)',
        starred=novel,
        note='Tags are the class predicted for the given box: blue is '
        'right, orange is wrong. Dashed orange lines: guessing.',
    )
