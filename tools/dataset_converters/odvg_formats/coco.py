"""COCO-style files: COCO, LVIS, Objects365, V3Det, your own.

SOURCE is a JSON with the lists images (id, file_name, width, height),
annotations (image_id, category_id, bbox) and categories (id, name). Category
names become the phrases, in words ("bow_(weapon)" is "bow (weapon)"). Crowd
and ignored boxes are left out. An image is named by file_name, or by the last
folder and file of its coco_url, as LVIS has it.
"""

from array import array
from pathlib import Path
from typing import Iterator, List

from harmoclip_mm.errors import DataError

from .lines import LAYOUTS, Line, Tally
from .reading import iter_json, require


def add_arguments(parser) -> None:
    """What this format can be told."""
    parser.add_argument(
        '--boxes',
        choices=LAYOUTS,
        default='xywh',
        help="how a bbox is four numbers (default: %(default)s, COCO's)",
    )


def list_parts(args) -> List[Path]:
    """The one file."""
    return [require(args.source, 'it should be a JSON in COCO format')]


class _Lists:
    """The lists of a file. Boxes are in no order: 44 bytes of each are kept,
    not the dict."""

    def __init__(self, part: Path, tally: Tally) -> None:
        self.images, self.names = {}, {}
        self.rows, self.labels = {}, {}  # of ids of images and categories
        self.row_of, self.label_of = array('q'), array('q')
        self.boxes = array('d')
        for key, item in iter_json(part, tally):
            tally.where = f'{part}: an element of {key}'
            with tally.expect('a COCO file'):
                if key == 'images':
                    self._add_image(item, part)
                elif key == 'categories':
                    self.names[item['id']] = item['name']
                elif key == 'annotations':
                    tally.where = f'{part}: annotation {item.get("id")}'
                    self._add_box(item, tally)
        if not self.images or not self.names:
            raise DataError(
                f'{part} needs the lists images, annotations and categories; '
                'are these captions, or another format?'
            )
        for id_ in set(self.labels) - set(self.names):
            raise DataError(f'{part}: category {id_!r} is in no list of them')

    def _add_image(self, item: dict, part: Path) -> None:
        name = item.get('file_name') or '/'.join(
            item['coco_url'].split('/')[-2:]
        )
        found = name, item['width'], item['height']
        known = self.images.setdefault(item['id'], found)
        if known != found:
            raise DataError(
                f'{part}: image id {item["id"]} stands for {known[0]} and '
                f'{name}, whose boxes cannot be told apart'
            )

    def _add_box(self, item: dict, tally: Tally) -> None:
        if item.get('iscrowd') or item.get('ignore'):
            return tally.drop('boxes of crowds or to be ignored')
        x, y, u, v = item['bbox']
        row = self.rows.setdefault(item['image_id'], len(self.rows))
        label = self.labels.setdefault(item['category_id'], len(self.labels))
        self.boxes.extend((x, y, u, v))
        self.row_of.append(row)
        self.label_of.append(label)
        return None


def read(part: Path, args, tally: Tally) -> Iterator[dict]:
    """A detection line for each image, in the order of the file."""
    import numpy as np

    from harmoclip_mm.text import class_to_prompt

    move = tally.on_move  # reading is about half of the work
    tally.on_move = lambda at: move(at / 2)
    lists = _Lists(part, tally)
    words = [class_to_prompt(lists.names[id_]) for id_ in lists.labels]
    rows = np.asarray(lists.row_of, dtype='i8')
    order = np.argsort(rows, kind='stable')
    ends = np.cumsum(np.bincount(rows, minlength=len(lists.rows)))
    starts = np.append(0, ends)
    written = 0
    for index, (id_, image) in enumerate(lists.images.items()):
        move(0.5 + index / len(lists.images) / 2)
        tally.where = f'{part}: image {id_}'
        line = Line(tally, *image)
        row = lists.rows.get(id_)
        mine = () if row is None else order[starts[row] : ends[row]].tolist()
        for i in mine:
            box = lists.boxes[4 * i : 4 * i + 4]
            line.add([box], words[lists.label_of[i]], layout=args.boxes)
        written += len(mine)
        yield line.detection()
    if written < len(rows):
        tally.where = str(part)
        why = 'boxes of images that are not listed'
        tally.drop(why, len(rows) - written)
