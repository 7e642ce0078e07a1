#!/usr/bin/env python
"""Time training, data and evaluation, beside what they are to be held against.

    python tools/analysis_tools/benchmark_speed.py training --clip EVA02-B-16
    python tools/analysis_tools/benchmark_speed.py data --config CONFIG
    python tools/analysis_tools/benchmark_speed.py evaluation --out speed.json

--help behind each of the three tells what it measures.
"""

import argparse
import json
import platform
import re
from datetime import date
from functools import partial
from pathlib import Path
from typing import Any, Dict

import speed_data
import speed_evaluation
import speed_training
import torch
from mmengine.logging import MMLogger
from rich.console import Console
from rich.table import Table

from harmoclip_mm.errors import run_command

PARTS = dict(
    training=speed_training, data=speed_data, evaluation=speed_evaluation
)


def parse_args() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parts = parser.add_subparsers(dest='part', required=True)
    for name, module in PARTS.items():
        part = parts.add_parser(name, description=module.__doc__)
        module.add_options(partial(add_option, part))
        part.add_argument('--out', help='JSON file for all figures')
    args = parser.parse_args()
    if args.out and not args.out.endswith('.json'):
        parser.error('--out must name a .json file')
    return args


def add_option(
    parser: argparse.ArgumentParser,
    name: str,
    default: Any,
    text: str,
    least: int = 1,
    **kwargs: Any,
) -> None:
    """Adds an option of its default's type; a list takes several, and no
    number is below ``least``."""

    def number(word: str) -> int:
        if int(word) < least:
            raise argparse.ArgumentTypeError(f'must be at least {least}')
        return int(word)

    if isinstance(default, list):
        kwargs['nargs'] = '+'
    if isinstance(default, (int, list)):
        kwargs['type'] = number
    if default:
        text += ' (default: %(default)s)'
    parser.add_argument(f'--{name}', default=default, help=text, **kwargs)


def show(figures: Dict[str, Any], console: Console, title: str = '') -> None:
    """Prints figures, and below them each table that is among them: a list
    of rows, or a dict of rows by name."""
    table, nested = Table(title=title, show_header=False), {}
    for name, value in figures.items():
        if isinstance(value, (dict, list)):
            nested[name] = value
        else:
            table.add_row(name, _words(value))
    console.print(table)
    for name, rows in nested.items():
        if isinstance(rows, dict):
            if not all(isinstance(each, dict) for each in rows.values()):
                show(rows, console, name)
                continue
            rows = [{'': key, **row} for key, row in rows.items()]
        table = Table(title=name)
        columns = list(dict.fromkeys(key for row in rows for key in row))
        for key in columns:
            header = key.replace('_', ' ')
            table.add_column(header, overflow='fold', no_wrap=not key)
        for row in rows:
            table.add_row(*(_words(row.get(key)) for key in columns))
        console.print(table)


def _words(value: Any) -> str:
    if value is None:
        return ''
    return f'{value:.4g}' if isinstance(value, float) else str(value)


def device_name(device: str) -> str:
    """What the figures were measured on."""
    if device.startswith('cuda'):
        return torch.cuda.get_device_name()
    info = Path('/proc/cpuinfo')  # of Linux; elsewhere platform knows
    text = info.read_text() if info.exists() else ''
    found = re.search(r'^model name\s*: (.*)$', text, re.M)
    return found[1] if found else platform.processor()


def main() -> None:
    """Run a benchmark."""
    args = parse_args()
    MMLogger.get_instance('benchmark_speed', log_level='WARNING')
    about = dict(
        date=date.today().isoformat(),
        device=device_name(vars(args).get('device', 'cpu')),
        threads=torch.get_num_threads(),
        torch=torch.__version__,
    )
    figures = PARTS[args.part].run(args)
    show({**about, **figures}, Console())
    if args.out:
        Path(args.out).parent.mkdir(parents=True, exist_ok=True)
        content = {**about, 'settings': vars(args), **figures}
        Path(args.out).write_text(json.dumps(content, indent=2) + '\n')
        print(f'The figures are in {args.out}')


if __name__ == '__main__':
    run_command(main)
