"""What all metrics need."""

from typing import Any, Sequence

import numpy as np
import torch
from mmengine.logging import MMLogger
from terminaltables import AsciiTable

from harmoclip_mm.errors import DataError


def to_numpy(values: Any) -> np.ndarray:
    """An array of any kind as NumPy's.

    Args:
        values (Any): Tensor of any device and type, array or numbers.

    Returns:
        np.ndarray: Floating point tensors as float32, as NumPy has no
        bfloat16.
    """
    if isinstance(values, torch.Tensor):
        values = values.detach().cpu()
        values = values.float() if values.is_floating_point() else values
    return np.asarray(values)


def check_unique(ids: Sequence[Any]) -> None:
    """Refuse an image that was evaluated twice.

    Its boxes would count twice, and in retrieval it could never come first
    alone.

    Args:
        ids (Sequence[Any]): Image id of each sample; None is unknown.

    Raises:
        DataError: If an id occurs twice.
    """
    seen = set()
    for img_id in ids:
        if img_id is not None and img_id in seen:
            raise DataError(
                f'image {img_id} occurs twice among the {len(ids)} samples: '
                'evaluation needs one sample an image, with all of its boxes '
                'and captions; give each image of the annotation file an id '
                'of its own'
            )
        seen.add(img_id)


def render_table(header: Sequence[str], rows: Sequence[Sequence[Any]]) -> str:
    """Render a small table as plain ASCII, for the terminal and log files.

    Args:
        header (Sequence[str]): Column names; the first column is aligned
            left, the others right.
        rows (Sequence[Sequence]): Cells of each row; floats are shown with
            two digits after the point.

    Returns:
        str: The table, lines separated by ``\\n``.

    Examples:
        >>> print(render_table(['boxes', 'top1'], [['all', 12.3456]]))
        +-------+-------+
        | boxes |  top1 |
        +-------+-------+
        | all   | 12.35 |
        +-------+-------+
    """
    cells = [
        [f'{c:.2f}' if isinstance(c, float) else str(c) for c in row]
        for row in (header, *rows)
    ]
    table = AsciiTable(cells)
    table.justify_columns = dict.fromkeys(range(1, len(header)), 'right')
    return table.table


def log_table(
    title: str, header: Sequence[str], rows: Sequence[Sequence[Any]]
) -> None:
    """Log a table of :func:`render_table` under its title."""
    table = render_table(header, rows)
    MMLogger.get_current_instance().info(f'\n{title}\n{table}')
