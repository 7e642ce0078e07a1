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
            kinds = {'image_id': 'id', 'caption': 'text'}
            check_fields(item, where, id='id?', **kinds)
            found = captions.setdefault(item['image_id'], [])
            found.append((item.get('id', 0), item['caption']))
            if 'id' in item:
                ids.append(hash(repr(item['id'])))
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

    order = np.argsort(hashes, kind='stable')
    same = np.flatnonzero(np.diff(np.asarray(hashes)[order]) == 0)
    if len(same):
        first, second = order[same[0]], order[same[0] + 1]
        raise DataError(
            f'{path}: annotations[{first}] and annotations[{second}] have the '
            'same id; give each an id of its own'
        )


class CocoFile:
    """Images, categories and boxes of a file.

    Boxes are in no order: about 70 bytes of each are kept, not the dict.

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
        self.labels = {}
        self._ids = array('q')
        self._boxes = {}  # of each image: label, bbox, label, bbox, ...
        for key, item in iter_json(part, tally):
            where = f'{part}: an element of {key}'
            if key == 'images':
                self._add_image(item, where)
            elif key == 'categories':
                check_fields(item, where, id='id', name='name')
                name = ' '.join(item['name'].split())
                known = self.names.setdefault(item['id'], name)
                if known != name:
                    raise DataError(
                        f'{part}: category id {item["id"]!r} stands for '
                        f'{known!r} and {name!r}; give each an id of its own'
                    )
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
        kinds = {'image_id': 'id', 'category_id': 'id', 'bbox': 'box'}
        check_fields(item, where, id='id?', **kinds)
        if 'id' in item:
            self._ids.append(hash(repr(item['id'])))
        if item.get('iscrowd') or item.get('ignore'):
            self.tally.where = f'{self.part}: annotation {item.get("id")}'
            self.tally.read['boxes'] += 1
            return self.tally.drop('boxes of crowds or to be ignored')
        label = self.labels.setdefault(item['category_id'], len(self.labels))
        boxes = self._boxes.setdefault(item['image_id'], array('d'))
        boxes.extend((label, *item['bbox']))
        return None

    def lines(self, ids: Iterable) -> Iterator[Tuple]:
        """Go through images, once.

        Args:
            ids (Iterable): All ids of ``images``, in any order.

        Yields:
            tuple: Image id, its line without regions, and a list of pairs of
            a category's name and a box in the order of the file.
        """
        names = [self.names[id_] for id_ in self.labels]
        for index, id_ in enumerate(ids):
            self._move(0.5 + index / len(self.images) / 2)
            self.tally.where = f'{self.part}: image {id_}'
            found = iter(self._boxes.pop(id_, ()))
            boxes = [(names[int(n)], box) for n, *box in zip(*[found] * 5)]
            yield id_, Line(self.tally, *self.images[id_]), boxes
        left = sum(map(len, self._boxes.values())) // 5
        if left:
            self.tally.where = str(self.part)
            self.tally.read['boxes'] += left
            self.tally.drop('boxes of images that are not listed', left)
