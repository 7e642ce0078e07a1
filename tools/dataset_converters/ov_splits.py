"""Write the annotations of open-vocabulary detection: base classes to train
on, novel ones only in the test.

    python tools/dataset_converters/ov_splits.py coco data/coco
    python tools/dataset_converters/ov_splits.py lvis data/lvis_v1

The first does what mmdet's ``coco2ovd.py`` does, with the same file names:
``instances_train2017_seen_2.json`` has the boxes of the 48 base classes,
``instances_val2017_all_2.json`` those of base and 17 novel classes. The second
writes ``lvis_v1_train_base.json``, the boxes of the 866 frequent and common
classes; OV-LVIS is tested on ``lvis_v1_val.json`` as it is. Images that are
left without a box are left out, and so are the other categories. For LVIS the
base categories also go to ``lvis_v1_base_categories.json``, with the number of
images of each, and their names to ``lvis_v1_base_classes.txt``.
"""

import argparse
import json
from pathlib import Path
from typing import Dict, List, Tuple

try:
    from harmoclip_mm.errors import DataError, UsageError, run_command
except ImportError as error:
    raise SystemExit(f'{error}; did you run `. .venv/bin/activate`?') from None

from rich.console import Console
from rich.table import Table

from harmoclip_mm.coco_file import check_members, check_records, read_json
from harmoclip_mm.files import replacing
from harmoclip_mm.text import load_vocabulary

# Lists of a file, and what their fields hold that are used here.
KEYS = {
    'categories': {'id': 'id', 'name': 'name'},
    'images': {'id': 'id'},
    'annotations': {'id': 'id?', 'image_id': 'id', 'category_id': 'id'},
}
# Names of the splits as mmdet's coco2ovd.py calls them.
BASE, NOVEL = 'seen', 'unseen'
COCO_TRAIN = ('instances_train2017.json', 'instances_train2017_seen_2.json')
COCO_VAL = ('instances_val2017.json', 'instances_val2017_all_2.json')
LVIS_TRAIN = ('lvis_v1_train.json', 'lvis_v1_train_base.json')
LVIS_CATEGORIES = 'lvis_v1_base_categories.json'
LVIS_CLASSES = 'lvis_v1_base_classes.txt'


def parse_args() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument('benchmark', choices=('coco', 'lvis'))
    parser.add_argument(
        'root', type=Path, help='folder of the data set, with annotations/'
    )
    parser.add_argument(
        '--out',
        type=Path,
        help='folder to write into (default: annotations/ of the data set)',
    )
    return parser.parse_args()


def coco_splits(categories: List[dict], path: Path) -> Dict[int, str]:
    """Split of each category id of COCO that OV-COCO knows."""
    groups = load_vocabulary('coco80').groups
    names = {each['name']: each['id'] for each in categories}
    lacking = [
        name for name in groups['base'] + groups['novel'] if name not in names
    ]
    if lacking:
        raise UsageError(
            f'{path} has no category "{lacking[0]}" ({len(lacking)} of 65 '
            'are missing): give the instances of COCO 2017'
        )
    return {
        names[name]: split
        for split, group in ((BASE, 'base'), (NOVEL, 'novel'))
        for name in groups[group]
    }


def lvis_splits(categories: List[dict], path: Path) -> Dict[int, str]:
    """Split of each category id of LVIS v1: rare ones are novel."""
    if any('frequency' not in each for each in categories):
        raise UsageError(
            f'{path} does not tell the frequency of its categories: give '
            "LVIS v1's own file"
        )
    return {
        each['id']: NOVEL if each['frequency'] == 'r' else BASE
        for each in categories
    }


def write_text(path: Path, text: str) -> None:
    """Write a file, whole or not at all."""
    with replacing(path) as part:
        Path(part).write_text(text, encoding='utf-8')


def write_split(
    source: Path, target: Path, splits: Tuple[str, ...], find_splits
) -> dict:
    """Keep the categories of some splits and write what is left.

    Args:
        source (Path): Annotation file in COCO format.
        target (Path): File to write.
        splits (tuple[str]): Splits to keep.
        find_splits (Callable): Gives the split of each category id, from the
            categories and the path of ``source``.

    Returns:
        dict: The content written.

    Raises:
        DataError: If the lists do not fit together, or no box is left.
    """
    remedy = f'give the folder that holds annotations/{source.name}'
    content = read_json(str(source), remedy)
    path = str(source)
    for key, kinds in KEYS.items():
        check_records(content, key, path, **kinds)
    first = {}
    for each in content['categories']:
        # names tell the splits, and what a line of classes means
        if first.setdefault(each['name'], each['id']) != each['id']:
            raise DataError(
                f'{path}: categories {first[each["name"]]!r} and '
                f'{each["id"]!r} are both called "{each["name"]}"; give each '
                'a name of its own'
            )
    for key, other in (('image_id', 'images'), ('category_id', 'categories')):
        known = {each['id'] for each in content[other]}
        check_members(content['annotations'], key, known, path)
    before = {key: len(content[key]) for key in KEYS}
    split_of = find_splits(content['categories'], source)
    content['categories'] = [
        dict(each, split=split_of[each['id']])
        for each in content['categories']
        if split_of.get(each['id']) in splits
    ]
    kept = {each['id'] for each in content['categories']}
    content['annotations'] = [
        each for each in content['annotations'] if each['category_id'] in kept
    ]
    if not content['annotations']:
        raise DataError(
            f'{path} has no box of the categories that {target.name} is for, '
            f'of {before["annotations"]} boxes'
        )
    images = {each['image_id'] for each in content['annotations']}
    content['images'] = [
        each for each in content['images'] if each['id'] in images
    ]
    write_text(target, json.dumps(content))
    print(target)
    table = Table('', 'before', 'kept')
    for key in KEYS:
        table.add_row(key, str(before[key]), str(len(content[key])))
    Console().print(table)
    return content


def main() -> None:
    """Write the files of a benchmark."""
    args = parse_args()
    folder = args.root / 'annotations'
    out = args.out or folder
    if args.benchmark == 'coco':
        for (source, target), splits in (
            (COCO_TRAIN, (BASE,)),
            (COCO_VAL, (BASE, NOVEL)),
        ):
            write_split(folder / source, out / target, splits, coco_splits)
        return
    source, target = LVIS_TRAIN
    kept = write_split(folder / source, out / target, (BASE,), lvis_splits)
    categories = sorted(kept['categories'], key=lambda each: each['id'])
    write_text(out / LVIS_CATEGORIES, json.dumps(categories))
    names = [each['name'] for each in categories]
    write_text(out / LVIS_CLASSES, '\n'.join(names) + '\n')


if __name__ == '__main__':
    run_command(main)
