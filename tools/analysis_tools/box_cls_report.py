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
    return parser.parse_args()


def main() -> None:
    """Read, compute, write."""
    args = parse_args()
    from harmoclip_mm.evaluation import load_results
    from harmoclip_mm.visualization.box_cls_figures import BoxClsFigures
    from harmoclip_mm.visualization.box_cls_report import write_page

    figures = BoxClsFigures(load_results(args.results))
    out_file = Path(args.out or Path(args.results).with_suffix('.html'))
    write_page(out_file, figures, Path(args.results).name)
    ece = 100 * figures.calibration.error
    print(
        f'{len(figures.labels)} boxes, '
        f'Top-1 {figures.accuracy["top1"]:.2f} %, ECE {ece:.2f} %: '
        f'open {out_file} ({out_file.stat().st_size / 1e6:.1f} MB)'
    )


if __name__ == '__main__':
    run_command(main)
