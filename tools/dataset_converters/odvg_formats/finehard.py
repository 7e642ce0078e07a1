"""FineHARD (FG-CLIP): captions, and boxes with short and long expressions.

SOURCE is the folder jsonfiles/, the folder above it, or one of its JSON files,
lists of {f_path, caption, short_caption, bbox_info: [{bbox, short_expr,
long_expr}]}; a bbox is x1, y1, x2, y2 in shares of the image's sides and maybe
a score. --images is the folder that f_path begins in. An expression that
stands in its caption is linked to it. Hard negatives of short expressions
(short_expr_negs) become the region's negatives.
"""

from pathlib import Path
from typing import Iterator, List

from harmoclip_mm.errors import DataError

from .lines import Line, Tally
from .reading import image_size, iter_json, require, require_images

ARGUMENTS = {
    '--caption': dict(
        choices=('short', 'long', 'both'),
        default='both',
        help='both make two lines of an image; long ones exceed 77 tokens '
        '(default: %(default)s)',
    ),
    '--expression': dict(
        choices=('short', 'long'),
        default='short',
        help='which words of a box (default: %(default)s)',
    ),
}


def list_parts(args) -> List[Path]:
    """The JSON files."""
    source = require(args.source, 'it should be jsonfiles/ of FineHARD')
    require_images(args)
    if source.is_file():
        return [source]
    if (source / 'jsonfiles').is_dir():
        source = source / 'jsonfiles'
    found = sorted(source.glob('*.json'))
    if not found:
        raise DataError(f'{source} has no .json; give jsonfiles/ of FineHARD')
    return found


def read(part: Path, args, tally: Tally) -> Iterator[dict]:
    """One or two lines for each image."""
    keys = {'short': ['short_caption'], 'long': ['caption']}
    keys['both'] = keys['long'] + keys['short']
    for index, item in iter_json(part, tally):
        tally.where = f'{part}: element {index}'
        name, regions = item['f_path'], item.get('bbox_info') or []
        captions = [item[key] for key in keys[args.caption]]
        size = image_size(args.images / name, tally)
        if size is None:
            continue
        for caption in captions:
            line = Line(tally, name, *size, caption or '')
            for each in regions:
                found = each.get('short_expr_negs') or {}
                found = [text for text in found.values() if text]
                x1, y1, x2, y2, *score = each['bbox']
                line.add(
                    [[x1, y1, x2, y2]],
                    each[f'{args.expression}_expr'],
                    score=score[0] if score else None,
                    layout='relative-xyxy',
                    negatives=found if args.expression == 'short' else (),
                )
            yield line.grounding()
