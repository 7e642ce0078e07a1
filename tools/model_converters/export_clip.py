#!/usr/bin/env python
"""Turn a CLIP checkpoint of any format into one of another library."""

import argparse

try:
    from harmoclip_mm.errors import run_command
except ImportError as error:
    raise SystemExit(f'{error}; did you run `. .venv/bin/activate`?') from None

from reading_options import (
    add_format_option,
    add_reading_options,
    refuse_existing,
)


def parse_args() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        'checkpoint',
        help='a training of ours (.pth), or a CLIP of OpenAI, open_clip, '
        'Hugging Face, EVA-CLIP, CLIPSelf, FineCLIP or mmpretrain: file, '
        'folder or address',
    )
    parser.add_argument(
        'out',
        help='folder to write; for open_clip also a file (.pt, .bin, '
        '.safetensors)',
    )
    add_format_option(parser)
    parser.add_argument(
        '--dense-head',
        action='store_true',
        help="keep the second pool of dense_head='copy' (open_clip files)",
    )
    add_reading_options(parser)
    return parser.parse_args()


def main() -> None:
    """Load and export."""
    args = parse_args()
    refuse_existing(args.out)
    from harmoclip_mm import export_clip, load_clip

    model = load_clip(
        args.checkpoint, args.arch, trust_pickle=args.trust_pickle
    )
    export_clip(model, args.out, args.format, args.dense_head)
    print(f'Wrote {args.out} in the format {args.format}.')


if __name__ == '__main__':
    run_command(main)
