"""COCO-style files: COCO, LVIS, Objects365, V3Det, your own.

SOURCE is a JSON with the lists images (id, file_name, width, height),
annotations (image_id, category_id, bbox) and categories (id, name). Category
names become the phrases, in words ("bow_(weapon)" is "bow (weapon)"). Crowd
and ignored boxes are left out. An image is named by file_name, or by the last
folder and file of its coco_url, as LVIS has it.
"""

from pathlib import Path
from typing import Iterator, List

from harmoclip_mm.text import class_to_prompt

from .coco_reading import CocoFile
from .lines import LAYOUTS, Tally
from .reading import require

ARGUMENTS = {
    '--boxes': dict(
        choices=LAYOUTS,
        default='xywh',
        help="how a bbox is four numbers (default: %(default)s, COCO's)",
    )
}


def list_parts(args) -> List[Path]:
    """The one file."""
    return [require(args.source, 'it should be a JSON in COCO format')]


def read(part: Path, args, tally: Tally) -> Iterator[dict]:
    """A detection line for each image, in the order of the file."""
    file = CocoFile(part, tally)
    words = {name: class_to_prompt(name) for name in file.names.values()}
    for _, line, boxes in file.lines(file.images):
        for name, box in boxes:
            line.add([box], words[name], layout=args.boxes)
        yield line.detection()
