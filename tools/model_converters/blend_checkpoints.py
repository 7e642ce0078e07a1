#!/usr/bin/env python
"""Blend a fine-tuned CLIP with the one it started from.

Weights become alpha * FINETUNED + (1 - alpha) * INITIAL, as CLIPSelf does
after training (arXiv 2310.01403; its code takes alpha 0.7 for B/16 and 0.95
for L/14). Both may be of any format; the fine-tuned one says which CLIP it is,
or --arch does.
"""

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
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument('initial', help='checkpoint before the training')
    parser.add_argument('finetuned', help='checkpoint after the training')
    parser.add_argument('out', help='file or folder to write')
    parser.add_argument(
        '--alpha',
        type=share,
        default=0.7,
        help='share of FINETUNED, 0 to 1 (default: 0.7)',
    )
    parser.add_argument(
        '--alpha-vision',
        type=share,
        help='its share in the vision tower (default: as --alpha)',
    )
    parser.add_argument(
        '--alpha-text',
        type=share,
        help='its share in the text tower and the temperature '
        '(default: as --alpha)',
    )
    add_format_option(parser)
    add_reading_options(parser)
    return parser.parse_args()


def share(text: str) -> float:
    """Read a number from 0 to 1."""
    value = float(text)
    if not 0 <= value <= 1:
        raise argparse.ArgumentTypeError(f'{text} is not between 0 and 1')
    return value


def main() -> None:
    """Load both, blend, export."""
    args = parse_args()
    refuse_existing(args.out)
    from harmoclip_mm import export_clip, load_clip
    from harmoclip_mm.models.checkpoints import blend_state_dicts

    trust = dict(trust_pickle=args.trust_pickle)
    model = load_clip(args.finetuned, args.arch, **trust)
    tower = model.backbone
    # as the training began: positions resized, a second pool copied
    given = dict(
        img_size=tower.img_size, dense_head=tower.dense_pool and 'copy'
    )
    clip = model.checkpoint_info['clip']
    initial = load_clip(args.initial, clip, backbone=given, **trust)
    alphas = {
        'backbone.': args.alpha_vision,
        'text_encoder.': args.alpha_text,
        'logit_scale.': args.alpha_text,
    }
    alphas = {
        part: args.alpha if alpha is None else alpha
        for part, alpha in alphas.items()
    }
    blended = blend_state_dicts(
        initial.state_dict(), model.state_dict(), alphas
    )
    model.load_state_dict(blended)
    export_clip(model, args.out, args.format)
    shown = ', '.join(f'{part} {a:g}' for part, a in alphas.items())
    print(f'Wrote {args.out}; share of {args.finetuned}: {shown}')


if __name__ == '__main__':
    run_command(main)
