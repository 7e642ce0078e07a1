"""Turn region-text data into ODVG lines, which RegionPhraseDataset reads.

    python tools/dataset_converters/to_odvg.py coco FILE.json --out FILE.jsonl
    python tools/dataset_converters/to_odvg.py FORMAT --help

Memory stays small whatever the size, and the file appears whole or not at
all. What was interrupted goes on behind the last whole file of the source.
"""

import argparse
from pathlib import Path
from typing import Optional, Sequence

try:
    from harmoclip_mm.errors import run_command
except ImportError as error:
    raise SystemExit(f'{error}; did you run `. .venv/bin/activate`?') from None

from odvg_formats import load_formats
from odvg_formats.writing import convert, make_table
from rich.console import Console


def parse_args(argv: Optional[Sequence[str]] = None) -> argparse.Namespace:
    """Read the command line."""
    raw = argparse.RawDescriptionHelpFormatter
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=raw)
    formats = parser.add_subparsers(
        dest='format', metavar='FORMAT', required=True
    )
    for name, module in load_formats().items():
        title, _, layout = module.__doc__.partition('\n\n')
        each = formats.add_parser(
            name,
            help=title.replace('%', '%%'),
            description=f'{title}\n\n{layout}',
            formatter_class=raw,
        )
        each.add_argument(
            'source', type=Path, metavar='SOURCE', help='see above'
        )
        each.add_argument(
            '--out', type=Path, required=True, help='jsonl to write'
        )
        each.add_argument(
            '--images',
            type=Path,
            metavar='DIR',
            help='folder of the images; lines without theirs are dropped',
        )
        for option, settings in getattr(module, 'ARGUMENTS', {}).items():
            each.add_argument(option, **settings)
        each.set_defaults(module=module)
    return parser.parse_args(argv)


def main() -> None:
    """Convert and tell what became of the source."""
    args = parse_args()
    module = vars(args).pop('module')
    tally = convert(module, args)
    console = Console()
    console.print(make_table(tally))
    if 2 * tally.written['boxes clipped'] > tally.written['boxes']:
        console.print(
            'More than half of the boxes reach out of their images: are '
            'they in the convention that this format has?'
        )
    print(f'Wrote {args.out}')


if __name__ == '__main__':
    run_command(main)
