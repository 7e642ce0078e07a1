"""Metrics as a JSON file that any program can read."""

import json
import math
import os
from typing import Any, Dict, Mapping, Optional

from mmengine.dist import master_only
from mmengine.logging import print_log


@master_only
def save_metrics(metrics: Mapping[str, Any], filename: str) -> None:
    """Write metrics as JSON, by rank 0 only.

    The file appears complete or not at all. JSON has no NaN or infinity:
    such a figure becomes ``null``, with a warning.

    Args:
        metrics (Mapping[str, Any]): Names and numbers.
        filename (str): The file; its folder is made if need be.

    Raises:
        TypeError: If a value is not a number.
    """
    figures: Dict[str, Optional[float]] = {}
    for name, value in metrics.items():
        number = float(value)
        figures[name] = number if math.isfinite(number) else None
    undefined = [name for name, value in figures.items() if value is None]
    if undefined:
        print_log(
            f'Not a finite number, written as null: {", ".join(undefined)}',
            logger='current',
            level=30,
        )
    folder = os.path.dirname(os.path.abspath(filename))
    os.makedirs(folder, exist_ok=True)
    partial = f'{filename}.partial'
    with open(partial, 'w', encoding='utf-8') as f:
        json.dump(figures, f, indent=2, allow_nan=False)
        f.write('\n')
    os.replace(partial, filename)
