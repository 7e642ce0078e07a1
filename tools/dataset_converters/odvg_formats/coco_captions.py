"""COCO captions, linked to the boxes of the categories that they name.

SOURCE is a COCO instances JSON; --captions names the captions of the same
images. Names, synonyms and plurals of categories are found in each caption.
"""

from pathlib import Path

from rich.console import Console


def add_arguments(parser) -> None:
    """What this format can be told."""
    parser.add_argument(
        '--captions', type=Path, required=True, help='COCO captions JSON'
    )
    parser.add_argument(
        '--image-prefix',
        default='',
        help='put before each file name, such as train2017/ (default: none)',
    )
    parser.add_argument(
        '--words',
        type=Path,
        help='JSON with synonyms of your own categories, in the form of '
        'harmoclip_mm/text/data/coco_phrases.json',
    )
    parser.add_argument(
        '--drop-unlinked',
        action='store_true',
        help='leave out captions without a linked span, which would train '
        'the global loss only',
    )
    parser.add_argument(
        '--name-unlinked-boxes',
        action='store_true',
        help='boxes of categories that a caption does not name become '
        'regions, too, their category being a text of its own',
    )


def convert(args) -> None:
    """Link and write."""
    import coco2phrases

    stats = coco2phrases.convert(
        args.source,
        args.captions,
        args.out,
        args.image_prefix,
        keep_unlinked=not args.drop_unlinked,
        name_unlinked_boxes=args.name_unlinked_boxes,
        words_file=args.words,
    )
    Console().print(coco2phrases.make_table(stats))
