#!/usr/bin/env python
"""Write the text embeddings of a vocabulary, bound to the CLIP they are of."""

import argparse
from pathlib import Path

try:
    from harmoclip_mm.errors import UsageError, run_command
except ImportError as error:
    raise SystemExit(f'{error}; did you run `. .venv/bin/activate`?') from None

from reading_options import add_reading_options

from harmoclip_mm.text import get_templates, load_vocabulary


def parse_args() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        'checkpoint', help='CLIP of any format that load_clip reads'
    )
    parser.add_argument(
        '--vocabulary',
        nargs='+',
        required=True,
        help='name of a vocabulary (coco80, lvis1203), a file, or two or more '
        'class names',
    )
    parser.add_argument(
        '--templates',
        nargs='+',
        default=['openai80'],
        help='name of a set of templates, or templates (default: openai80)',
    )
    parser.add_argument('--out', required=True, help='file to write (.npz)')
    parser.add_argument('--device', default='cpu', help='default: cpu')
    add_reading_options(parser)
    return parser.parse_args()


def main() -> None:
    """Load, encode and write."""
    args = parse_args()
    if not args.out.endswith('.npz'):
        raise UsageError(f'--out {args.out} should end in .npz')
    words, templates = args.vocabulary, args.templates
    if len(templates) == 1 and '{}' not in templates[0]:
        templates = templates[0]  # the name of a set
    try:
        # one word is a name or a file, several are class names
        vocabulary = load_vocabulary(words[0] if len(words) == 1 else words)
        templates = get_templates(templates)
    except (FileNotFoundError, ValueError) as error:
        raise UsageError(str(error)) from error
    from harmoclip_mm import load_clip
    from harmoclip_mm.models.classifiers import encode_vocabulary

    model = load_clip(
        args.checkpoint,
        device=args.device,
        arch=args.arch,
        trust_pickle=args.trust_pickle,
    )
    found = encode_vocabulary(
        model.text_encoder,
        model.backbone,
        vocabulary,
        templates,
    )
    Path(args.out).parent.mkdir(parents=True, exist_ok=True)
    found.save(args.out)
    print(
        f'Wrote {args.out}: {len(found.classes)} classes, '
        f'{len(found.templates)} templates.'
    )


if __name__ == '__main__':
    run_command(main)
