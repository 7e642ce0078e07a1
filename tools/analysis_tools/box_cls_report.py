#!/usr/bin/env python
"""Write a page about box classification from the predictions of a test.

    python tools/test.py CONFIG CHECKPOINT --out results.pkl
    python tools/analysis_tools/box_cls_report.py results.pkl --config CONFIG

One HTML file that opens in a browser without a network: accuracy of each
class, the worst classes with pictures, what is taken for what, calibration,
and accuracy against box size.
"""

import argparse
from pathlib import Path

from mmengine.config import DictAction

from harmoclip_mm.apis import (
    UsageError,
    annotation_checksum,
    classes_of_annotations,
    classes_of_config,
    classes_of_results,
    load_config,
    metainfo_of_config,
    run_command,
)
from harmoclip_mm.evaluation import check_run, load_results
from harmoclip_mm.evaluation.metrics.table import render_table
from harmoclip_mm.text import Vocabulary, load_vocabulary
from harmoclip_mm.visualization.box_cls_report import (
    class_rows,
    collect,
    summarise,
    write_page,
)


def parse_args() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument('results', help='what tools/test.py --out wrote')
    names = parser.add_mutually_exclusive_group()
    names.add_argument(
        '--config', help='config of the test, which names the classes'
    )
    names.add_argument(
        '--ann-file',
        help='annotations of the test in COCO format, which name the classes '
        'and must have all images of the results',
    )
    names.add_argument(
        '--vocabulary',
        help='vocabulary of the package, or file, that names the classes; '
        'without any of the three the names of the results are taken, or '
        'numbers',
    )
    parser.add_argument(
        '--out',
        metavar='FILE.html',
        help='page to write (default: beside the results, ending .html)',
    )
    parser.add_argument(
        '--title', default='Box classification', help='heading of the page'
    )
    parser.add_argument(
        '--per-class',
        action='store_true',
        help='print the figures of every class, too, the worst first',
    )
    for name, default, text in (
        ('--num-bins', 15, 'bins of the reliability diagram'),
        ('--num-pairs', 20, 'confused pairs to list'),
        ('--num-worst', 8, 'worst classes to show'),
        ('--num-pictures', 6, 'pictures of each of the worst classes'),
        ('--min-boxes', 5, 'boxes a class needs to be among the worst'),
    ):
        parser.add_argument(
            name,
            type=int,
            default=default,
            metavar='N',
            help=f'{text} (default: %(default)s)',
        )
    parser.add_argument(
        '--cfg-options',
        nargs='+',
        action=DictAction,
        metavar='KEY=VALUE',
        help='replace settings of the config',
    )
    args = parser.parse_args()
    for name in ('num_bins', 'num_pairs', 'min_boxes'):
        if getattr(args, name) < 1:
            parser.error(f'--{name.replace("_", "-")} must be at least 1')
    for name in ('num_worst', 'num_pictures'):
        if getattr(args, name) < 0:
            parser.error(f'--{name.replace("_", "-")} must not be negative')
    return args


def find_vocabulary(args: argparse.Namespace, records: list) -> Vocabulary:
    """The classes by what the user gave, else by the file itself."""
    known = bool(records[0].get('run'))  # else of an older version
    if known:
        check_run(records, args.results)
    if args.config:
        cfg = load_config(args.config, args.cfg_options)
        if known:
            check_run(
                records,
                args.results,
                classes=metainfo_of_config(cfg).get('classes'),
                ann_sha256=annotation_checksum(cfg),
            )
        return classes_of_config(cfg)
    if args.ann_file:
        vocabulary = classes_of_annotations(args.ann_file, records)
        if known:
            check_run(records, args.results, classes=vocabulary.classes)
        return vocabulary
    if args.vocabulary:
        try:
            return load_vocabulary(args.vocabulary)
        except (FileNotFoundError, ValueError) as error:
            raise UsageError(str(error)) from error
    vocabulary = classes_of_results(records)
    if not (records[0].get('run') or {}).get('classes'):
        print('The file does not name its classes; --config does')
    return vocabulary


def main() -> None:
    """Read, compute, write."""
    args = parse_args()
    records = load_results(args.results)
    vocabulary = find_vocabulary(args, records)
    boxes = collect(records)
    summary = summarise(
        *(boxes, vocabulary, args.num_bins, args.num_worst, args.min_boxes)
    )
    out_file = Path(args.out or Path(args.results).with_suffix('.html'))
    write_page(
        *(out_file, boxes, summary, Path(args.results).name, args.title),
        *(args.num_pairs, args.num_pictures),
    )
    if args.per_class:
        print(render_table(*class_rows(summary)))
    size = out_file.stat().st_size / 1e6
    print(
        f'{len(boxes.labels)} boxes, Top-1 {summary.accuracy["top1"]:.2f} %, '
        f'ECE {100 * summary.ece:.2f} %: open {out_file} ({size:.1f} MB)'
    )


if __name__ == '__main__':
    run_command(main)
