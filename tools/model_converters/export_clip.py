#!/usr/bin/env python
"""Turn a CLIP checkpoint of any format into one of another library."""

import argparse

from harmoclip_mm.apis import (
    add_reading_options,
    export_clip,
    load_clip,
    load_config,
    run_command,
)
from harmoclip_mm.errors import UsageError
from harmoclip_mm.models.checkpoints.exporting import EXPORT_FORMATS


def parse_args() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        'checkpoint',
        help='a training of ours (.pth), or a CLIP of OpenAI, open_clip, '
        'Hugging Face, EVA-CLIP, CLIPSelf, FineCLIP or mmpretrain: file, '
        'folder or hf-hub:OWNER/NAME',
    )
    parser.add_argument(
        'out',
        help='folder to write; for open_clip also a file (.pt, .bin, '
        '.safetensors), for harmoclip_mm a file (.pth)',
    )
    parser.add_argument(
        '--format',
        choices=EXPORT_FORMATS,
        default='open_clip',
        help='what to write (default: open_clip)',
    )
    parser.add_argument(
        '--config',
        help='config file of the model, for a .pth that does not hold it',
    )
    add_reading_options(parser)
    return parser.parse_args()


def main() -> None:
    """Load and export."""
    args = parse_args()
    arch = None
    if args.config:
        cfg = load_config(args.config)
        if not isinstance(cfg.get('model'), dict):
            raise UsageError(f'config {args.config} has no model')
        # what shapes do not say; whatever else the config builds stays out
        model = cfg.model.to_dict()
        arch = {
            tower: {
                key: value
                for key, value in model.get(tower, {}).items()
                if key in ('arch', 'num_heads', 'img_size', 'act_cfg')
                and not isinstance(value, str)
            }
            for tower in ('backbone', 'text_encoder')
        }
    model = load_clip(
        args.checkpoint,
        arch=arch,
        activation=args.activation,
        trust_pickle=args.trust_pickle,
    )
    export_clip(model, args.out, args.format)
    print(f'Wrote {args.out} in the format {args.format}.')


if __name__ == '__main__':
    run_command(main)
