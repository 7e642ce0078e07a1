#!/usr/bin/env python
"""Measure every figure of the field for CLIPs, on the data that is there."""

import argparse
import os

try:
    from harmoclip_mm.errors import UsageError, run_command
except ImportError as error:
    raise SystemExit(f'{error}; did you run `. .venv/bin/activate`?') from None

from harmoclip_mm.command_line import add_launcher_options


def parse_args() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        'checkpoints',
        nargs='+',
        metavar='CHECKPOINT',
        help='checkpoint of a training or a CLIP of any format (OpenAI, '
        'open_clip, Hugging Face, EVA-CLIP ...: file, folder or hf-hub:NAME), '
        'or "none" for random weights; others are compared with the first',
    )
    parser.add_argument(
        '--clip',
        metavar='NAME',
        help='which CLIP the checkpoints are, where they do not tell it: a '
        'name of docs/clips.md or a folder',
    )
    parser.add_argument(
        '--suite',
        default='full',
        metavar='NAMES',
        help='quick, full (default), or names of configs/evaluation/ or '
        'config files with commas between them',
    )
    parser.add_argument(
        '--limit',
        type=int,
        metavar='N',
        help='measure the first N samples of each protocol; such figures '
        'compare with each other alone',
    )
    parser.add_argument(
        '--out',
        default='work_dirs/benchmark',
        metavar='DIR',
        help='folder of results.jsonl, report.md and report.html (default: '
        'work_dirs/benchmark); what it has is not measured again',
    )
    parser.add_argument(
        '--amp',
        action='store_true',
        help='mixed precision: float16 on a GPU, bfloat16 on a CPU',
    )
    parser.add_argument(
        '--num-workers',
        type=int,
        metavar='N',
        help='processes that load images (default: as the configs say)',
    )
    add_launcher_options(parser)
    args = parser.parse_args()
    if args.limit is not None and args.limit < 1:
        parser.error('--limit must be at least 1')
    os.environ.setdefault('LOCAL_RANK', str(args.local_rank))
    return args


def main() -> None:
    """Run the protocols."""
    args = parse_args()
    from mmengine.config import Config
    from mmengine.dist import init_dist, is_distributed, is_main_process

    from harmoclip_mm import benchmark
    from harmoclip_mm.engine import close_launcher, setup_launcher
    from harmoclip_mm.models.checkpoints import is_remote

    for each in args.checkpoints:
        # the last of several is not to be found missing after hours
        known = each.lower() == 'none' or is_remote(each)
        if not (known or os.path.exists(each)):
            raise UsageError(
                f'checkpoint {each} does not exist; "none" measures random '
                'weights'
            )
    setup_launcher(Config(), args.launcher)
    if args.launcher != 'none' and not is_distributed():
        init_dist(args.launcher)
    benchmark(
        args.checkpoints,
        suite=args.suite,
        clip=args.clip,
        limit=args.limit,
        out=args.out,
        amp=args.amp,
        num_workers=args.num_workers,
    )
    if is_main_process():
        print(f'Find the tables in {args.out}/report.md and report.html')
    close_launcher()


if __name__ == '__main__':
    run_command(main)
