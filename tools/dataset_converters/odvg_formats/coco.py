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


def read(part: Path, args, tally: Tally) -> Iterator[dict]:
    """A detection line for each image, in the order of the file."""
    import numpy as np

    from harmoclip_mm.text import class_to_prompt

    images, names, rows = [], {}, {}
    # Boxes are in no order: 44 bytes of each are kept, not the dict.
    owners, labels, boxes = array('q'), array('i'), array('d')
    ids = {}
    move = tally.on_move  # reading is about half of the work
    tally.on_move = lambda at: move(at / 2)
    for key, item in iter_json(part, tally):
        tally.where = f'{part}: an element of {key}'
        try:
            if key == 'images':
                rows.setdefault(item['id'], len(rows))
                images.append(item)
            elif key == 'categories':
                names[item['id']] = class_to_prompt(item['name'])
            elif key == 'annotations':
                tally.where = f'{part}: annotation {item.get("id")}'
                if item.get('iscrowd') or item.get('ignore'):
                    tally.drop('boxes of crowds or to be ignored')
                    continue
                x, y, u, v = item['bbox']
                owner = rows.setdefault(item['image_id'], len(rows))
                label = ids.setdefault(item['category_id'], len(ids))
                boxes.extend((x, y, u, v))
                owners.append(owner)
                labels.append(label)
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise DataError(
                f'{tally.where} is not as in a COCO file: {error!r} in '
                f'{item!r:.200}'
            ) from error
    if not images or not names:
        raise DataError(
            f'{part} needs the lists images, annotations and categories; '
            'are these captions, or another format?'
        )
    for id_ in set(ids) - set(names):
        raise DataError(f'{part}: category {id_!r} is in no list of them')
    words = [names[id_] for id_ in ids]
    order = np.argsort(np.frombuffer(owners, 'i8'), kind='stable')
    counts = np.bincount(np.frombuffer(owners, 'i8'), minlength=len(rows))
    ends = np.cumsum(counts)
    for index, item in enumerate(images):
        move(0.5 + index / len(images) / 2)
        row = rows[item['id']]
        tally.where = f'{part}: image {item["id"]}'
        name = item.get('file_name') or '/'.join(
            item.get('coco_url', '').split('/')[-2:]
        )
        if not name:
            raise DataError(f'{tally.where} has no file_name')
        line = Line(tally, name, item.get('width'), item.get('height'))
        for i in order[ends[row] - counts[row] : ends[row]].tolist():
            box = boxes[4 * i : 4 * i + 4]
            line.add([box], words[labels[i]], layout=args.boxes)
        yield line.detection()
    lost = len(owners) - sum(counts[rows[item['id']]] for item in images)
    if lost:
        tally.where = str(part)
        tally.drop('boxes of images that are not listed', int(lost))
