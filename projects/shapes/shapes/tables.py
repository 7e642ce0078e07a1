"""Tables of the results of ``compare.py``."""

import statistics
from dataclasses import dataclass
from typing import Dict, List, Optional, Sequence

from rich import box
from rich.table import Table

from .ablations import IDEAS, PAIRS
from .curves import area, on_or_above
from .paired import compare
from .plan import METHOD_NAMES, PRETRAINING, Variant
from .results import (
    Record,
    all_boxes,
    by_seed,
    curve,
    novel_boxes,
    pairs_of,
    recall,
    select,
)

OURS = 'harmoclip'
# Column: figure of a point.
COLUMNS = {
    'Box Top-1': all_boxes,
    'base': lambda point: point['box_top1_base'],
    'novel': novel_boxes,
    'I2T R@1': lambda point: point['retrieval_i2t_r1'],
    'T2I R@1': lambda point: point['retrieval_t2i_r1'],
}
# A start below this is no CLIP, and no trade-off could be seen. R@1 is among
# 5,000 images, many of which have the same objects.
LEAST_CROP_TOP1, LEAST_R1 = 40.0, 10.0


@dataclass(frozen=True)
class TextTable:
    """A table for the terminal and for Markdown.

    Attributes:
        title (str): What it shows.
        header (Sequence[str]): Names of the columns.
        rows (Sequence[Sequence[str]]): The cells.
    """

    title: str
    header: Sequence[str]
    rows: Sequence[Sequence[str]]

    def rich(self) -> Table:
        """The table for the terminal."""
        table = Table(title=self.title, box=box.SIMPLE_HEAD, padding=0)
        table.add_column(self.header[0], overflow='fold', min_width=16)
        for name in self.header[1:]:
            table.add_column(name, justify='right')
        for row in self.rows:
            table.add_row(*row)
        return table

    def markdown(self) -> str:
        """The table as Markdown."""
        lines = [
            f'**{self.title}**\n',
            '| ' + ' | '.join(self.header) + ' |',
            '|---|' + '---:|' * (len(self.header) - 1),
            *('| ' + ' | '.join(row) + ' |' for row in self.rows),
        ]
        return '\n'.join(lines) + '\n'


def mean_and_deviation(values: Sequence[float]) -> str:
    """Mean and sample standard deviation over the starts, as text.

    Args:
        values (Sequence[float]): One value a start; may be empty.

    Returns:
        str: ``'71.3 ± 0.8'``, ``'71.3'`` for one value, ``'-'`` for none.
    """
    if not values:
        return '-'
    text = f'{statistics.fmean(values):.1f}'
    if len(values) > 1:
        text += f' \N{PLUS-MINUS SIGN} {statistics.stdev(values):.1f}'
    return text


def main_table(records: Sequence[Record]) -> TextTable:
    """Every method on the test images.

    Args:
        records (Sequence[dict]): Of one recipe and kind of start.

    Returns:
        TextTable: Mean and standard deviation over the starts; of the
        seconds a step the least, since what else a machine does can only
        make a step slower.
    """
    rows: List[List[str]] = []

    def add(name: str, found: Dict[int, Record], point: str) -> None:
        if not found:
            return
        points = [each['test'][point] for each in found.values()]
        cells = [
            mean_and_deviation([figure(each) for each in points])
            for figure in COLUMNS.values()
        ]
        gain = '-'
        if point != '0':
            areas = [
                area(curve(records, each, 'test')) for each in found.values()
            ]
            gain = mean_and_deviation(areas) if point == '1' else ''
        seconds = min(each['seconds_per_step'] for each in found.values())
        rows.append([name, str(len(found)), *cells, gain, f'{seconds:.2f}'])

    add('the start itself', by_seed(records, 'clip', PRETRAINING), '0')
    for method, name in METHOD_NAMES.items():
        found = by_seed(records, method)
        add(name, found, '1')
        add(f'{name}, averaged weights', found, 'ema')
    header = ['', 'starts', *COLUMNS, 'area', 's a step']
    title = 'Test images, percent; mean and standard deviation over the starts'
    return TextTable(title, header, rows)


def paired_table(
    records: Sequence[Record], point: str = '1'
) -> Optional[TextTable]:
    """HarmoCLIP against each peer, from the same starts.

    Args:
        records (Sequence[dict]): Of one recipe and kind of start.
        point (str): Share of the trained weights, or ``'ema'``.

    Returns:
        TextTable or None: None while HarmoCLIP or all peers are missing.
    """
    ours = by_seed(records, OURS)
    rows = []
    for method, name in METHOD_NAMES.items():
        pairs = pairs_of(ours, by_seed(records, method))
        if not pairs or method == OURS:
            continue
        cells = []
        for figure in (novel_boxes, all_boxes, recall):
            mine, other = (
                [figure(each['test'][point]) for each in side]
                for side in zip(*pairs)
            )
            found = compare(mine, other)
            cells += [str(found), f'{found.wins} of {len(pairs)}']
        curves = [
            [curve(records, each, 'test') for each in pair] for pair in pairs
        ]
        areas = compare(*zip(*([area(c) for c in pair] for pair in curves)))
        above = sum(on_or_above(*pair) for pair in curves)
        cells += [str(areas), f'{above} of {len(pairs)}']
        rows.append([name, *cells])
    if not rows:
        return None
    header = [
        'HarmoCLIP less', 'novel boxes', 'ahead', 'all boxes', 'ahead',
        'mean R@1', 'ahead', 'area', 'curve on or above',
    ]  # fmt: skip
    title = (
        'Differences in points: mean and, of five starts or more, 95 % '
        'interval, else each start'
    )
    return TextTable(title, header, rows)


def ablation_table(
    records: Sequence[Record], title: str, variants: Sequence[Variant]
) -> Optional[TextTable]:
    """Variants of HarmoCLIP.

    A row of ``PAIRS`` is compared with the row before it, on the test images,
    since it answers a question; a row of ``IDEAS`` with the first row, on the
    val images, since choices are made by it.

    Args:
        records (Sequence[dict]): Of one recipe and kind of start.
        title (str): Title of the table, a key of ``TABLES``.
        variants (Sequence[Variant]): Its rows.

    Returns:
        TextTable or None: Each row on the starts that it shares with the row
        it is compared with. None without a record beyond the default.
    """
    pairs = title in PAIRS
    split, against = ('test', 'row above') if pairs else ('val', 'first row')
    found = [by_seed(records, OURS, each.name) for each in variants]
    if sum(map(bool, found)) < 2:
        return None
    rows = []
    for number, (variant, each) in enumerate(zip(variants, found)):
        # the partner of a pair; the first row, which is its own, without one
        base = found[number ^ 1] if pairs else found[0]
        both = pairs_of(each, base)
        if not both:
            continue
        values = {
            figure: [
                [figure(record[split]['1']) for record in side]
                for side in zip(*both)
            ]
            for figure in (novel_boxes, recall)
        }
        cells = ['', '', '']
        if number % 2 if pairs else number:
            novel, change = (compare(*sides) for sides in values.values())
            wins = f'{novel.wins} of {len(both)}'
            cells = [str(novel), wins, str(change)]
        means = [mean_and_deviation(ours) for ours, _ in values.values()]
        rows.append([variant.text, str(len(both)), *means, *cells])
    header = ['', 'starts', 'novel', 'mean R@1', f'novel, less the {against}']
    return TextTable(f'{title} ({split})', [*header, 'ahead', 'R@1'], rows)


def all_tables(records: Sequence[Record]) -> List[TextTable]:
    """Every table that the results have rows for.

    Args:
        records (Sequence[dict]): Of one recipe and kind of start.

    Returns:
        list[TextTable]: The tables.
    """
    tables = [main_table(records), paired_table(records)]
    tables += [
        ablation_table(records, title, variants)
        for title, variants in {**PAIRS, **IDEAS}.items()
    ]
    return [table for table in tables if table is not None]


def check_start(records: Sequence[Record]) -> str:
    """Whether the starts are good enough for a trade-off to be seen.

    Args:
        records (Sequence[dict]): Of one recipe and kind of start.

    Returns:
        str: One sentence.
    """
    starts = select(records, variant=PRETRAINING)
    if not starts:
        return 'No start was pre-trained.'
    points = [each['test']['0'] for each in starts]
    crop = min(point['crop_top1'] for point in points)
    least = min(recall(point) for point in points)
    good = crop >= LEAST_CROP_TOP1 and least >= LEAST_R1
    return (
        f'The weakest start classifies {crop:.1f} % of the crops (at least '
        f'{LEAST_CROP_TOP1:.0f} wanted) and has R@1 {least:.1f} % (at least '
        f'{LEAST_R1:.0f}): it is {"a" if good else "no"} CLIP to start from.'
    )
