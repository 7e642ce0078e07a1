"""COCO-style files: COCO, LVIS, Objects365, V3Det, your own.

SOURCE is a JSON with the lists images (id, file_name, width, height),
annotations (image_id, category_id, bbox) and categories (id, name). Category
names become the phrases, in words ("bow_(weapon)" is "bow (weapon)"). Crowd
and ignored boxes are left out. An image is named by file_name, or by the last
folder and file of its coco_url, as LVIS has it.
"""

from array import array
from pathlib import Path
from typing import Dict, Iterable, Iterator, List, Tuple

from harmoclip_mm.errors import DataError
from harmoclip_mm.text import class_to_prompt

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


def image_name(item: dict) -> str:
    """File name of an element of ``images``."""
    return item.get('file_name') or '/'.join(item['coco_url'].split('/')[-2:])


def read_captions(path: Path) -> Tuple[Dict, Dict]:
    """Read COCO captions.

    Returns:
        tuple: File names, and lists of (caption id, caption) in the order of
        caption ids, both by image id.
    """
    names, captions = {}, {}
    tally = Tally()
    for key, item in iter_json(path, tally):
        tally.where = f'{path}: an element of {key}'
        with tally.expect('COCO captions'):
            if key == 'images':
                names[item['id']] = image_name(item)
            elif key == 'annotations':
                id_ = item.get('id', 0)
                tally.where = f'{path}: annotation {id_}'
                text = item['caption']
                if not isinstance(text, str):
                    raise DataError(f'{path}: caption {id_} is not a text')
                captions.setdefault(item['image_id'], []).append((id_, text))
    if not captions:
        raise DataError(f'{path} has no captions: are they in COCO format?')
    for found in captions.values():
        found.sort(key=lambda pair: pair[0])
    return names, captions


class CocoFile:
    """Images, categories and boxes of a file.

    Boxes are in no order: 44 bytes of each are kept, not the dict.

    Args:
        part (Path): The file.
        tally (Tally): Counts; told that reading is half of the work.

    Attributes:
        images (dict): File name, width and height by id.
        names (dict): Names of categories by id.
        roots (set): Names of supercategories of others.
        labels (dict): Ids of categories that have boxes.
    """

    def __init__(self, part: Path, tally: Tally) -> None:
        self.part, self.tally, self._move = part, tally, tally.on_move
        tally.on_move = lambda at, move=tally.on_move: move(at / 2)
        self.images, self.names, self.roots = {}, {}, set()
        self._rows, self.labels = {}, {}  # of ids of images and categories
        self._row_of, self._label_of = array('q'), array('q')
        self._boxes = array('d')
        for key, item in iter_json(part, tally):
            tally.where = f'{part}: an element of {key}'
            with tally.expect('COCO instances'):
                if key == 'images':
                    tally.where = f'{part}: image {item.get("id")}'
                    self._add_image(item)
                elif key == 'categories':
                    name = ' '.join(item['name'].split())
                    self.names[item['id']] = name
                    if item.get('supercategory') != name:
                        self.roots.add(item.get('supercategory'))
                elif key == 'annotations':
                    tally.where = f'{part}: annotation {item.get("id")}'
                    self._add_box(item)
        if not self.images or not self.names:
            raise DataError(
                f'{part} needs the lists images, annotations and categories; '
                'are these captions, or another format?'
            )
        for id_ in set(self.labels) - set(self.names):
            raise DataError(f'{part}: category {id_!r} is in no list of them')

    def _add_image(self, item: dict) -> None:
        found = image_name(item), item['width'], item['height']
        known = self.images.setdefault(item['id'], found)
        if known != found:
            raise DataError(
                f'{self.part}: image id {item["id"]} stands for {known[0]} '
                f'and {found[0]}, whose boxes cannot be told apart'
            )

    def _add_box(self, item: dict) -> None:
        if item.get('iscrowd') or item.get('ignore'):
            return self.tally.drop('boxes of crowds or to be ignored')
        x, y, u, v = item['bbox']
        row = self._rows.setdefault(item['image_id'], len(self._rows))
        label = self.labels.setdefault(item['category_id'], len(self.labels))
        self._boxes.extend((x, y, u, v))
        self._row_of.append(row)
        self._label_of.append(label)
        return None

    def lines(self, ids: Iterable) -> Iterator[Tuple]:
        """Go through images.

        Args:
            ids (Iterable): All ids of ``images``, in any order.

        Yields:
            tuple: Image id, its line without regions, and a list of pairs of
            a category's name and a box in the order of the file.
        """
        import numpy as np

        rows = np.asarray(self._row_of, dtype='i8')
        order = np.argsort(rows, kind='stable')
        ends = np.cumsum(np.bincount(rows, minlength=len(self._rows)))
        starts = np.append(0, ends)
        names = [self.names[id_] for id_ in self.labels]
        listed = 0
        for index, id_ in enumerate(ids):
            self._move(0.5 + index / len(self.images) / 2)
            self.tally.where = f'{self.part}: image {id_}'
            row = self._rows.get(id_)
            mine = slice(0) if row is None else slice(starts[row], ends[row])
            boxes = [
                (names[self._label_of[i]], self._boxes[4 * i : 4 * i + 4])
                for i in order[mine].tolist()
            ]
            listed += len(boxes)
            yield id_, Line(self.tally, *self.images[id_]), boxes
        if listed < len(rows):
            self.tally.where = str(self.part)
            why = 'boxes of images that are not listed'
            self.tally.drop(why, len(rows) - listed)


def read(part: Path, args, tally: Tally) -> Iterator[dict]:
    """A detection line for each image, in the order of the file."""
    file = CocoFile(part, tally)
    words = {name: class_to_prompt(name) for name in file.names.values()}
    for _, line, boxes in file.lines(file.images):
        for name, box in boxes:
            line.add([box], words[name], layout=args.boxes)
        yield line.detection()
