"""The results file of ``compare.py``: one JSON line a run."""

import json
import os
from pathlib import Path
from typing import Any, Dict, Iterator, List, Sequence, Tuple

from harmoclip_mm.errors import UsageError

from .plan import DEFAULT, PRETRAINING

__all__ = [
    'Curve',
    'Record',
    'all_boxes',
    'append_record',
    'by_seed',
    'curve',
    'load_results',
    'novel_boxes',
    'pairs_of',
    'recall',
    'select',
]

Record = Dict[str, Any]
# Mean R@1 and Top-1 of novel boxes of each share of the trained weights, the
# start first; percent.
Curve = List[Tuple[float, float]]


def load_results(path: Path) -> List[Record]:
    """Read the results.

    Args:
        path (Path): JSON lines; may be absent.

    Returns:
        list[dict]: The records in the order of the file.

    Raises:
        UsageError: If a line is no record; names it.
    """
    records = []
    lines = path.read_text().splitlines() if path.is_file() else []
    for number, line in enumerate(lines, 1):
        try:
            record = json.loads(line)
            record['method'], record['recipe'], record['test']
        except (ValueError, TypeError, KeyError):
            raise UsageError(
                f'{path}, line {number} is no record of compare.py: '
                'remove the line, and its run will be done again'
            ) from None
        records.append(record)
    return records


def append_record(path: Path, record: Record) -> None:
    """Append a record by one write, so that no line is ever torn by another
    process that appends as well."""
    path.parent.mkdir(parents=True, exist_ok=True)
    line = (json.dumps(record) + '\n').encode()
    handle = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o644)
    try:
        os.write(handle, line)
        os.fsync(handle)
    finally:
        os.close(handle)


def select(records: Sequence[Record], **wanted) -> List[Record]:
    """Records with these values."""
    return [
        record
        for record in records
        if all(record.get(key) == value for key, value in wanted.items())
    ]


def by_seed(
    records: Sequence[Record], method: str, variant: str = DEFAULT
) -> Dict[int, Record]:
    """Records of a method by the seed of their start.

    Args:
        records (Sequence[dict]): Of one recipe and kind of start.
        method (str): A method.
        variant (str): Its variant. Defaults to the method as it is.

    Returns:
        dict[int, dict]: The records.
    """
    found = select(records, method=method, variant=variant)
    return {record['seed']: record for record in found}


def pairs_of(
    ours: Dict[int, Record], theirs: Dict[int, Record]
) -> List[Tuple[Record, Record]]:
    """Records of two methods from the same starts, of :func:`by_seed`, in the
    order of the seeds."""
    seeds = sorted(ours.keys() & theirs.keys())
    return [(ours[seed], theirs[seed]) for seed in seeds]


def recall(point: Record) -> float:
    """Mean R@1 of both directions, percent."""
    return (point['retrieval_i2t_r1'] + point['retrieval_t2i_r1']) / 2


def all_boxes(point: Record) -> float:
    """Top-1 of all boxes, percent."""
    return point['box_top1']


def novel_boxes(point: Record) -> float:
    """Top-1 of novel boxes, percent."""
    return point['box_top1_novel']


def curve(records: Sequence[Record], record: Record, split: str) -> Curve:
    """The points that blends with the start reach.

    Args:
        records (Sequence[dict]): Where the record of the start is too.
        record (dict): A fine-tuning.
        split (str): ``'val'`` or ``'test'``.

    Returns:
        list[tuple[float, float]]: By the share of the trained weights.
    """
    start = by_seed(records, 'clip', PRETRAINING)[record['seed']]
    return list(_points(start[split])) + list(_points(record[split]))


def _points(figures: Dict[str, Record]) -> Iterator[Tuple[float, float]]:
    for share, point in figures.items():
        if share != 'ema':
            yield recall(point), novel_boxes(point)
