#!/usr/bin/env python
"""Say in seconds what a training or a test will stumble over in its data.

    python tools/check_dataset.py CONFIG

ends with 1 if something will fail or falsify figures, else with 0.
"""

import argparse
import sys

try:
    from harmoclip_mm.errors import run_command
except ImportError as error:
    raise SystemExit(f'{error}; did you run `. .venv/bin/activate`?') from None

from rich.console import Console
from rich.table import Table

from harmoclip_mm.apis import load_config
from harmoclip_mm.command_line import add_config_option


def parse_args() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument('config', help='config file')
    add_config_option(parser, 'train_dataloader.batch_size=8')
    return parser.parse_args()


def main() -> None:
    """Check and print."""
    args = parse_args()
    from harmoclip_mm.engine import check_data

    cfg = load_config(args.config, args.cfg_options)
    findings = check_data(cfg)
    table = Table(title=f'Data of {args.config}', show_lines=False)
    for name in ('split', '', 'found'):
        table.add_column(name, overflow='fold')
    colors = {'error': '[red]error', 'warning': '[yellow]warning', 'ok': 'ok'}
    for level, split, text in findings:
        table.add_row(split, colors[level], text.replace('[', r'\['))
    console = Console()
    console.print(table)
    errors = sum(each.level == 'error' for each in findings)
    warnings = sum(each.level == 'warning' for each in findings)
    console.print(f'{errors} errors, {warnings} warnings')
    sys.exit(1 if errors else 0)


if __name__ == '__main__':
    run_command(main)
