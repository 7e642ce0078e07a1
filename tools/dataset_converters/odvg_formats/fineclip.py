"""Region captions of FineCLIP and CLIPSelf: one text for each box of an image.

SOURCE is a JSON object whose keys are IMAGE_x_y_w_h in px, with or without
.jpg behind, where IMAGE is a file name or an id (--name makes a file name of
it), and whose values are the captions of the boxes. --images is the folder of
the images, for their sizes. --captions, a COCO captions JSON of the same
images, gives each of its captions a line with all boxes; without it the
regions have no caption.
"""

import re
from itertools import groupby
from pathlib import Path
from typing import Iterator, List, Tuple

from harmoclip_mm.coco_file import check_members
from harmoclip_mm.errors import DataError

from .coco import read_captions
from .lines import Line, Tally
from .reading import image_size, iter_json, require, require_images

_KEY = re.compile(
    r'(.+)_(-?[\d.]+)_(-?[\d.]+)_(-?[\d.]+)_(-?\d+(?:\.\d+)?)(\.jpe?g|\.png)?$'
)

ARGUMENTS = {
    '--name': dict(
        default='{:0>12}.jpg',
        help="file name of an image id (default: %(default)s, COCO's)",
    ),
    '--captions': dict(type=Path, help='COCO captions JSON of the images'),
}


def list_parts(args) -> List[Path]:
    """The one file."""
    require_images(args)
    return [require(args.source, 'it should be a JSON of region captions')]


def _read_regions(part: Path, args, tally: Tally) -> Iterator[Tuple]:
    for key, text in iter_json(part, tally):
        tally.where = f'{part}: {key}'
        match = _KEY.match(str(key))
        if not match:
            raise DataError(
                f'{part}: the key {key!r:.80} is not IMAGE_x_y_w_h, as in '
                'region captions of FineCLIP'
            )
        image, *box = match.groups()[:5]
        if Path(image).suffix.lower() not in ('.jpg', '.jpeg', '.png'):
            image = args.name.format(image)
        yield image, [float(side) for side in box], text


def read(part: Path, args, tally: Tally) -> Iterator[dict]:
    """Lines for each run of keys of one image."""
    captions = {}
    if args.captions:
        names, by_id = read_captions(args.captions)
        firsts = [
            {'id': found[0][0], 'image_id': id_}
            for id_, found in by_id.items()
        ]
        check_members(firsts, 'image_id', names, str(args.captions))
        captions = {names[id_]: found for id_, found in by_id.items()}
    regions = _read_regions(part, args, tally)
    for image, group in groupby(regions, key=lambda region: region[0]):
        found = list(group)
        size = image_size(args.images / image, tally)
        if size and args.captions and image not in captions:
            tally.read['images that --captions does not name'] += 1
        for _, caption in captions.get(image, [(0, '')]) if size else ():
            line = Line(tally, image, *size, caption)
            for _, box, text in found:
                line.add([box], text, layout='xywh')
            yield line.grounding()
