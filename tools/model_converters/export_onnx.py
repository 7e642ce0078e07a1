#!/usr/bin/env python
"""Write a CLIP as ONNX: images, dense maps, texts and boxes without torch."""

import argparse

try:
    from harmoclip_mm.errors import run_command
except ImportError as error:
    raise SystemExit(f'{error}; did you run `. .venv/bin/activate`?') from None

from reading_options import add_reading_options, refuse_existing


def parse_args() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        'checkpoint', help='CLIP of any format that load_clip reads'
    )
    parser.add_argument(
        'out',
        help='folder to write vision.onnx, text.onnx, regions.onnx, clip.json '
        'and tokenizer.json into',
    )
    add_reading_options(parser)
    return parser.parse_args()


def main() -> None:
    """Load and export."""
    args = parse_args()
    refuse_existing(args.out)
    from harmoclip_mm import load_clip
    from harmoclip_mm.apis import export_onnx

    model = load_clip(
        args.checkpoint, args.arch, trust_pickle=args.trust_pickle
    )
    export_onnx(model, args.out)
    print(f'Wrote {args.out}')


if __name__ == '__main__':
    run_command(main)
