"""COCO-style files: COCO, LVIS, Objects365, V3Det, your own.

SOURCE is a JSON with the lists images (id, file_name, width, height),
annotations (image_id, category_id, bbox) and categories (id, name). Category
names become the phrases, in words ("bow_(weapon)" is "bow (weapon)"). Crowd
and ignored boxes are left out. An image is named by file_name, or by the last
folder and file of its coco_url, as LVIS has it.
"""

from array import array
from pathlib import Path
from typing import Dict, Iterable, Iterator, List, Tuple, Union

from harmoclip_mm.coco_file import check_fields
from harmoclip_mm.errors import DataError
from harmoclip_mm.text import class_to_prompt

from .lines import LAYOUTS, Line, Tally
from .reading import iter_json, require

_ANNOTATION = {
    'id': 'id?',
    'image_id': 'id',
    'category_id': 'id',
    'bbox': 'box',
}


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


def image_name(item: dict, where: str) -> str:
    """File name of an element of ``images``."""
    if 'coco_url' in item and not item.get('file_name'):
        check_fields(item, where, coco_url='name')
        return '/'.join(item['coco_url'].split('/')[-2:])
    check_fields(item, where, file_name='name')
    return item['file_name']


def read_image(item: dict, where: str) -> Tuple[str, int, int]:
    """File name, width and height of an element of ``images``."""
    check_fields(item, where, id='id', width='size', height='size')
    return image_name(item, where), item['width'], item['height']


def read_captions(path: Path) -> Tuple[Dict, Dict]:
    """Read COCO captions.

    Returns:
        tuple: File names, and lists of (caption id, caption) in the order of
        caption ids, both by image id.
    """
    names, captions, ids = {}, {}, array('q')
    for key, item in iter_json(path, Tally()):
        where = f'{path}: an element of {key}'
        if key == 'images':
            check_fields(item, where, id='id')
            names[item['id']] = image_name(item, where)
        elif key == 'annotations':
            kinds = {'id': 'id?', 'image_id': 'id', 'caption': 'text'}
            check_fields(item, where, **kinds)
            found = captions.setdefault(item['image_id'], [])
            found.append((item.get('id', 0), item['caption']))
            if 'id' in item:
                ids.append(hash(item['id']))
    if not captions:
        raise DataError(f'{path} has no captions: is it in COCO format?')
    _check_ids(ids, path)
    for found in captions.values():
        found.sort(key=lambda pair: sort_key(pair[0]))
    return names, captions


def sort_key(id_: Union[int, str]) -> Tuple:
    """Puts ids in order that are integers or texts."""
    return isinstance(id_, str), id_


def _check_ids(hashes: array, path: Path) -> None:
    """Refuse annotations that are there twice, by hashes of their ids."""
    import numpy as np

    if len(np.unique(np.asarray(hashes, dtype='i8'))) == len(hashes):
        return
    seen = set()
    for key, item in iter_json(path, Tally()):
        if key == 'annotations' and 'id' in item:
            if item['id'] in seen:
                raise DataError(
                    f'{path}: two annotations have id {item["id"]!r}; give '
                    'each an id of its own'
                )
            seen.add(item['id'])


class CocoFile:
    """Images, categories and boxes of a file.

    Boxes are in no order: 52 bytes of each are kept, not the dict.

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
        self._ids = array('q')
        for key, item in iter_json(part, tally):
            where = f'{part}: an element of {key}'
            if key == 'images':
                self._add_image(item, where)
            elif key == 'categories':
                check_fields(item, where, id='id', name='name')
                name = ' '.join(item['name'].split())
                self.names[item['id']] = name
                root = item.get('supercategory')
                if isinstance(root, str) and root != name:
                    self.roots.add(root)
            elif key == 'annotations':
                self._add_box(item, where)
        if not self.images or not self.names:
            raise DataError(
                f'{part} needs the lists images, annotations and categories; '
                'are these captions, or another format?'
            )
        for id_ in set(self.labels) - set(self.names):
            raise DataError(f'{part}: category {id_!r} is in no list of them')
        _check_ids(self._ids, part)

    def _add_image(self, item: dict, where: str) -> None:
        found = read_image(item, where)
        known = self.images.setdefault(item['id'], found)
        if known != found:
            raise DataError(
                f'{self.part}: image id {item["id"]} stands for {known[0]} '
                f'and {found[0]}, whose boxes cannot be told apart'
            )

    def _add_box(self, item: dict, where: str) -> None:
        check_fields(item, where, **_ANNOTATION)
        if 'id' in item:
            self._ids.append(hash(item['id']))
        if item.get('iscrowd') or item.get('ignore'):
            self.tally.where = f'{self.part}: annotation {item.get("id")}'
            return self.tally.drop('boxes of crowds or to be ignored')
        row = self._rows.setdefault(item['image_id'], len(self._rows))
        label = self.labels.setdefault(item['category_id'], len(self.labels))
        self._boxes.extend(item['bbox'])
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
