"""Results of ``compare.py``: their files, and tables of them."""

import json
import statistics
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Dict, List, Optional, Sequence

from rich import box
from rich.table import Table

from harmoclip_mm.errors import UsageError

from .plan import (
    BLENDED,
    DEFAULT,
    METHOD_NAMES,
    PRETRAINING,
    STARTS,
    Variant,
)

Record = Dict[str, Any]

# Column: figure of the results.
COLUMNS = {
    'Box Top-1': 'box_top1',
    'base': 'box_top1_base',
    'novel': 'box_top1_novel',
    'I2T R@1': 'retrieval_i2t_r1',
    'T2I R@1': 'retrieval_t2i_r1',
    'HM': 'harmonic_mean',
    'Crop Top-1': 'crop_top1',
}
# A start below this is no CLIP, and no trade-off could be seen.
LEAST_CROP_TOP1, LEAST_R1 = 60.0, 30.0
# Characters of a line that the main table fits in.
NARROW = 130


@dataclass(frozen=True)
class TextTable:
    """A table for the terminal and for Markdown.

    Attributes:
        title (str): What it shows.
        header (Sequence[str]): Names of the columns.
        rows (Sequence[Sequence[str]]): The cells.
        sections (Sequence[int]): Rows after which a line is drawn.
    """

    title: str
    header: Sequence[str]
    rows: Sequence[Sequence[str]]
    sections: Sequence[int] = ()

    def rich(self, width: int) -> Table:
        """The table for the terminal.

        Args:
            width (int): Characters of a line. In a narrow terminal a number
                and its deviation stand on two lines.

        Returns:
            Table: The table.
        """
        table = Table(title=self.title, box=box.SIMPLE_HEAD, padding=0)
        table.add_column(self.header[0], overflow='fold')
        most = 6 if width < NARROW else None  # "11.9 ±"
        for name in self.header[1:]:
            table.add_column(name, justify='right', max_width=most)
        for index, row in enumerate(self.rows):
            table.add_row(*row, end_section=index in self.sections)
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


def choices_file(results: Path) -> Path:
    """The file beside the results that holds what choices are made on.

    Args:
        results (Path): JSON lines of the main table.

    Returns:
        Path: JSON lines of all figures on the val images, and of the starts
        and the ablations.
    """
    return results.with_name(f'{results.stem}_val.jsonl')


def load_results(*paths: Path) -> List[Record]:
    """Read the results.

    Args:
        *paths (Path): JSON lines; may be absent.

    Returns:
        list[dict]: The records in the order of the files.

    Raises:
        UsageError: If a line is no record; names it.
    """
    records = []
    lines = [
        (path, number, line)
        for path in paths
        if path.is_file()
        for number, line in enumerate(path.read_text().splitlines(), 1)
    ]
    for path, number, line in lines:
        try:
            record = json.loads(line)
            record['method'], record['recipe'], record['split']
        except (ValueError, TypeError, KeyError):
            raise UsageError(
                f'{path}, line {number} is no record of compare.py: '
                'remove the line, and its run will be done again'
            ) from None
        records.append(record)
    return records


def mean_and_deviation(values: Sequence[float]) -> str:
    """Mean and sample standard deviation over the seeds, as text.

    Args:
        values (Sequence[float]): One value a seed; may be empty.

    Returns:
        str: ``'71.3 ± 0.8'``, ``'71.3'`` for one value, ``'-'`` for none.
    """
    if not values:
        return '-'
    text = f'{statistics.fmean(values):.1f}'
    if len(values) > 1:
        text += f' \N{PLUS-MINUS SIGN} {statistics.stdev(values):.1f}'
    return text


def select(records: Sequence[Record], **wanted) -> List[Record]:
    """Records with these values."""
    return [
        record
        for record in records
        if all(record.get(key) == value for key, value in wanted.items())
    ]


def _cells(records: Sequence[Record]) -> List[str]:
    return [
        mean_and_deviation([record[figure] for record in records])
        for figure in COLUMNS.values()
    ]


def main_table(records: Sequence[Record]) -> TextTable:
    """Every method from both starts.

    Args:
        records (Sequence[dict]): Of one recipe and split.

    Returns:
        TextTable: Mean and standard deviation over the seeds; of the seconds
        a step the least.
    """
    rows: List[List[str]] = []
    sections: List[int] = []

    def add(name: str, found: Sequence[Record]) -> None:
        if found:
            steps = '/'.join(sorted({str(each['steps']) for each in found}))
            # What else the machine does can only make a step slower.
            seconds = min(each['seconds_per_step'] for each in found)
            cells = [*_cells(found), f'{seconds:.2f}']
            rows.append([name, steps, str(len(found)), *cells])

    add('the start itself', select(records, variant=PRETRAINING))
    for start in STARTS:
        sections.append(len(rows) - 1)
        for method, name in METHOD_NAMES.items():
            of_both = select(records, method=method, start=start)
            add(f'{name}, {start}', select(of_both, variant=DEFAULT))
            add(f'{name} blended, {start}', select(of_both, variant=BLENDED))
    images = records[0]['images']
    title = (
        f'Shapes, {images} {records[0]["split"]} images, percent; mean and '
        'standard deviation over the seeds'
    )
    header = ['', 'steps', 'seeds', *COLUMNS, 's a step']
    return TextTable(title, header, rows, sections)


def ablation_table(
    records: Sequence[Record], title: str, variants: Sequence[Variant]
) -> Optional[TextTable]:
    """Variants of HarmoCLIP, fine-tuned, on the seeds that all of them have.

    Args:
        records (Sequence[dict]): Of one recipe and split.
        title (str): Title of the table.
        variants (Sequence[Variant]): Its rows.

    Returns:
        TextTable or None: The table; None as long as only rows of the main
        table have a record.
    """
    found = []
    for variant in variants:
        method, name = 'harmoclip', variant.name
        if name == 'gc':  # the same training as the method clip
            method, name = 'clip', DEFAULT
        found.append(
            {
                record['seed']: record
                for record in select(
                    records, method=method, start='pretrained', variant=name
                )
            }
        )
    special = [
        each
        for each, variant in zip(found, variants)
        if variant.name not in ('gc', DEFAULT)
    ]
    if not any(special):
        return None
    seeds = set.intersection(*(set(each) for each in found if each))
    rows = [
        [variant.text, *_cells([each[s] for s in sorted(seeds) if s in each])]
        for variant, each in zip(variants, found)
    ]
    title += f' (seed {", ".join(map(str, sorted(seeds)))})'
    return TextTable(title, ['', *COLUMNS], rows)


def classifier_table(records: Sequence[Record]) -> Optional[TextTable]:
    """The modes of HarmoCLIP's classifier, of the fine-tuned models.

    Args:
        records (Sequence[dict]): Of one recipe and split.

    Returns:
        TextTable or None: The table; None without such a record.
    """
    found = select(
        records, method='harmoclip', start='pretrained', variant=DEFAULT
    )
    if not found:
        return None
    rows = [
        [
            text,
            *(
                mean_and_deviation([each[f'{name}{mode}'] for each in found])
                for name in ('box_top1', 'box_top1_novel')
            ),
        ]
        for text, mode in (
            ('EOT (default)', ''),
            ("the prompt's tokens (lexeme)", '_lexeme'),
            ('both', '_both'),
        )
    ]
    return TextTable('Classifier', ['', 'Box Top-1', 'novel'], rows)


def check_start(records: Sequence[Record]) -> str:
    """Whether the starts are good enough for a trade-off to be seen.

    Args:
        records (Sequence[dict]): Of one recipe and split.

    Returns:
        str: One sentence.
    """
    starts = select(records, variant=PRETRAINING)
    if not starts:
        return 'No start was pre-trained.'
    crop = min(each['crop_top1'] for each in starts)
    recall = min(
        min(each['retrieval_i2t_r1'], each['retrieval_t2i_r1'])
        for each in starts
    )
    good = crop >= LEAST_CROP_TOP1 and recall >= LEAST_R1
    return (
        f'The weakest start classifies {crop:.1f} % of the crops (at least '
        f'{LEAST_CROP_TOP1:.0f} wanted) and has R@1 {recall:.1f} % (at least '
        f'{LEAST_R1:.0f}): it is {"a" if good else "no"} CLIP to start from.'
    )


def to_markdown(tables: Sequence[TextTable]) -> str:
    """All tables, one below the other."""
    return '\n'.join(table.markdown() for table in tables)
