"""Terminal tables of metrics, as plain text for the log."""

import io
from typing import Any, Optional, Sequence

from rich import box
from rich.console import Console
from rich.table import Table


def render_table(
    header: Sequence[str],
    rows: Sequence[Sequence[Any]],
    title: Optional[str] = None,
) -> str:
    """Render a small table as text.

    Plain ASCII without colours, because the same text goes to the terminal
    and to log files on machines of any locale.

    Args:
        header (Sequence[str]): Column names; the first column is aligned
            left, the others right.
        rows (Sequence[Sequence]): Cells of each row; floats are shown with
            two digits after the point.
        title (str, optional): Line above the table. Defaults to None.

    Returns:
        str: The table, lines separated by ``\\n``.

    Examples:
        >>> print(render_table(['boxes', 'top1'], [['all', 12.3456]]))
        +---------------+
        | boxes |  top1 |
        |-------+-------|
        | all   | 12.35 |
        +---------------+
    """
    table = Table(box=box.ASCII, safe_box=True)
    for i, name in enumerate(header):
        table.add_column(name, justify='right' if i else 'left', no_wrap=True)
    for row in rows:
        table.add_row(
            *(f'{c:.2f}' if isinstance(c, float) else str(c) for c in row)
        )
    text = io.StringIO()
    # wide enough for any table of ours: nothing is ever cut to a terminal
    Console(file=text, width=500, color_system=None).print(table)
    lines = [line.rstrip() for line in text.getvalue().splitlines()]
    return '\n'.join(([title] if title else []) + lines)
