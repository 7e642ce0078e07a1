#!/usr/bin/env python
"""Write a page about box classification from the predictions of a test.

    python tools/test.py CONFIG CHECKPOINT --out results.pkl
    python tools/analysis_tools/box_cls_report.py results.pkl

One HTML file that opens in a browser without a network: accuracy of each
class, the worst classes with pictures, what is taken for what, calibration,
and accuracy against box size.
"""

import argparse
from pathlib import Path
from typing import Any

try:
    from harmoclip_mm.errors import run_command
except ImportError as error:
    raise SystemExit(f'{error}; did you run `. .venv/bin/activate`?') from None


def parse_args() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument('results', help='what tools/test.py --out wrote')
    parser.add_argument(
        '--out',
        metavar='FILE.html',
        help='page to write (default: beside the results, ending .html)',
    )
    parser.add_argument(
        '--per-class',
        action='store_true',
        help='print the figures of every class, too, the worst first',
    )
    for name, default, text in (
        ('--num-bins', 15, 'bins of the reliability diagram'),
        ('--num-pairs', 20, 'confused pairs to list'),
        ('--min-boxes', 5, 'boxes a class needs to be among the worst'),
    ):
        parser.add_argument(
            name,
            type=int,
            default=default,
            metavar='N',
            help=f'{text} (default: %(default)s)',
        )
    args = parser.parse_args()
    if min(args.num_bins, args.num_pairs, args.min_boxes) < 1:
        parser.error('--num-bins, --num-pairs, --min-boxes must be positive')
    return args


def print_classes(figures: Any) -> None:
    """Table of the classes that have boxes, the worst first, in percent."""
    from harmoclip_mm.evaluation.metrics.common import render_table

    rows = []
    for each in figures.classes.values():
        taken = f'{each.taken_for} ({each.taken})' if each.taken else ''
        shares = [100 * share for share in each.shares]
        rows.append([each.name, each.boxes, *shares, taken])
    rows.sort(key=lambda row: (row[2], -row[1]))
    header = ['class', 'boxes', *(f'top{k}' for k in figures.topk)]
    print(render_table([*header, 'most often taken for'], rows))


def main() -> None:
    """Read, compute, write."""
    args = parse_args()
    from harmoclip_mm.evaluation import load_results
    from harmoclip_mm.visualization.box_cls_report import (
        BoxClsFigures,
        write_page,
    )

    records = load_results(args.results)
    figures = BoxClsFigures(records, args.num_bins)
    out_file = Path(args.out or Path(args.results).with_suffix('.html'))
    source = Path(args.results).name
    write_page(out_file, figures, source, args.num_pairs, args.min_boxes)
    if args.per_class:
        print_classes(figures)
    ece = 100 * figures.calibration.error
    print(
        f'{len(figures.labels)} boxes, '
        f'Top-1 {figures.accuracy["top1"]:.2f} %, ECE {ece:.2f} %: '
        f'open {out_file} ({out_file.stat().st_size / 1e6:.1f} MB)'
    )


if __name__ == '__main__':
    run_command(main)
