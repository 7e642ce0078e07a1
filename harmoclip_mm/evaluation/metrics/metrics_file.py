"""Metrics as a JSON file that any program can read."""

import json
import logging
import math
from typing import Any, Mapping

from mmengine.dist import master_only
from mmengine.logging import print_log

from harmoclip_mm.files import replacing


@master_only
def save_metrics(metrics: Mapping[str, Any], filename: str) -> None:
    """Write metrics as JSON, by rank 0 only, as a whole or not at all.

    JSON has no NaN or infinity: such a figure becomes ``null``, with a
    warning.

    Args:
        metrics (Mapping[str, Any]): Names and numbers.
        filename (str): The file; its folder is made if need be.

    Raises:
        TypeError: If a value is not a number.
    """
    figures = {name: float(value) for name, value in metrics.items()}
    undefined = [n for n, value in figures.items() if not math.isfinite(value)]
    if undefined:
        figures.update(dict.fromkeys(undefined))
        print_log(
            f'Not a finite number, written as null: {", ".join(undefined)}',
            logger='current',
            level=logging.WARNING,
        )
    with replacing(filename) as part, open(part, 'w', encoding='utf-8') as f:
        json.dump(figures, f, indent=2, allow_nan=False)
        f.write('\n')
