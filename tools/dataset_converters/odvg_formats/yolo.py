"""YOLO folders: a text file of boxes for each image.

SOURCE is a folder with data.yaml (path, train, val, test, names), or its
data.yaml, or without one a folder with classes.txt, images/ and labels/. A
line of labels/NAME.txt is "class cx cy w h" in shares of the image's sides,
maybe with a confidence, or "class x1 y1 x2 y2 x3 y3 ...", a polygon, whose box
is taken. Class names become the phrases, in words ("traffic_light" is "traffic
light"). File names are written relative to the folder that "path" of data.yaml
or SOURCE is.
"""

import os
from pathlib import Path
from typing import Any, Dict, Iterator, List, Tuple

from harmoclip_mm.coco_file import check_fields
from harmoclip_mm.errors import DataError
from harmoclip_mm.text import class_to_prompt

from .lines import Line, Tally
from .reading import image_size, read_lines, require

_SUFFIXES = {'.jpg', '.jpeg', '.png', '.bmp', '.webp', '.tif', '.tiff'}

ARGUMENTS = {
    '--split': dict(
        default='train',
        help='key of data.yaml, or folder of images/, "." for all of them '
        '(default: %(default)s)',
    )
}


def list_parts(args) -> List[Tuple[Path, Path, Dict[int, str]]]:
    """Root, folder of images and class names, of each folder of the split."""
    source = require(args.source, 'it should be a YOLO folder or data.yaml')
    file = source / 'data.yaml' if source.is_dir() else source
    if file.exists():
        root, folders, names = _read_yaml(file, args.split)
    else:
        root, images = source, source / 'images'
        flat = not any(each.is_dir() for each in images.glob('*'))
        folders = [images if flat else images / args.split]
        places = (source / 'classes.txt', source / 'labels' / 'classes.txt')
        listed = [place for place in places if place.exists()]
        if not listed:
            raise DataError(
                f'{source} has neither data.yaml nor classes.txt: the classes '
                'have no names'
            )
        # a blank line counts: the class of a label is the number of its line
        names = {number - 1: name for number, name in read_lines(listed[0])}
    names = {label: class_to_prompt(name) for label, name in names.items()}
    for folder in folders:
        require(folder, f'it should hold the images of {args.split}')
    return [(args.images or root, folder, names) for folder in folders]


def _read_yaml(file: Path, split: str) -> Tuple[Path, List[Path], dict]:
    import yaml

    try:
        content = yaml.safe_load(file.read_text(encoding='utf-8-sig'))
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise DataError(f'{file}: not a YAML file ({error})') from error
    check_fields(content, str(file))
    # a key without a value is as if it were not there
    content = {k: v for k, v in content.items() if v is not None}
    for key in ('names', split):
        if key not in content:
            raise DataError(
                f'{file} needs "names" and "{split}" (--split); {key!r} is '
                'missing'
            )
    check_fields(content, str(file), path='text?')
    folders = content[split]
    folders = folders if isinstance(folders, list) else [folders]
    where = f'{file}, {split}'
    check_fields({'folders': folders}, where, folders='names')
    if content.get('kpt_shape'):
        raise DataError(
            f'{file} is of keypoints (kpt_shape), which a line of labels does '
            'not tell from a polygon: keep the first five numbers of each '
            'line, and leave out kpt_shape'
        )
    root = Path(os.path.normpath(file.parent / content.get('path', '.')))
    root = root if root.is_dir() else file.parent
    found = []
    for each in folders:
        # Exports of Roboflow say ../train/images for train/images.
        places = [root / each, root / each.replace('../', '')]
        places = [Path(os.path.normpath(place)) for place in places]
        found += [p for p in places if p.exists()][:1] or places[:1]
    return root, found, _read_names(content['names'], file)


def _read_names(names: Any, file: Path) -> Dict[int, str]:
    if isinstance(names, list):
        names = dict(enumerate(names))
    if not isinstance(names, dict):
        raise DataError(
            f'{file}: "names" must be a list, or an object of class numbers '
            f'and names, not {names!r:.80}'
        )
    for label, name in names.items():
        if not str(label).isdecimal():
            raise DataError(
                f'{file}: the class {label!r:.80} of "names" is no number'
            )
        # not isinstance: YAML reads yes, no, on and off as true and false
        if type(name) not in (int, str):
            raise DataError(
                f'{file}: the name of class {label} is {name!r:.80} to YAML, '
                'no text; put it in quotes'
            )
    return {int(label): str(name) for label, name in names.items()}


def _label_file(image: Path) -> Path:
    """``images`` becomes ``labels`` in the last place of the path."""
    parts = list(image.with_suffix('.txt').parts)
    at = len(parts) - 1 - parts[::-1].index('images')
    return Path(*parts[:at], 'labels', *parts[at + 1 :])


def read(part, args, tally: Tally) -> Iterator[dict]:
    """A detection line for each image, in order of their names."""
    root, folder, names = part
    if folder.is_file():
        given = [Path(name) for _, name in read_lines(folder)]
        files = [root / name for name in given]
    else:
        files = sorted(
            f for f in folder.rglob('*') if f.suffix.lower() in _SUFFIXES
        )
    for index, image in enumerate(files):
        tally.on_move(index / len(files))
        tally.where = str(image)
        if 'images' not in image.parts:
            raise DataError(
                f'{image}: no folder of its path is called images, beside '
                'which labels could be'
            )
        # Boxes are of the picture as it is seen, pixels as they are stored.
        size = image_size(image, tally, turned=False)
        if size is None:
            continue
        name = os.path.relpath(image, root).replace(os.sep, '/')
        line = Line(tally, name, *size)
        labels = _label_file(image)
        if labels.exists():
            _add_boxes(line, labels, names, tally)
        else:
            tally.read['images without a label file'] += 1
        yield line.detection()


def _add_boxes(line: Line, file: Path, names: dict, tally: Tally) -> None:
    for number, text in read_lines(file):
        tally.where = f'{file}:{number}'
        label, *values = map(float, text.split())
        if label not in names:
            raise DataError(
                f'{tally.where}: class {label:g} is none of the '
                f'{len(names)} names'
            )
        if len(values) in (4, 5):
            score = values[4] if len(values) == 5 else None
            box, layout = values[:4], 'relative-cxcywh'
        elif len(values) >= 6 and len(values) % 2 == 0:
            x, y, score = values[::2], values[1::2], None
            box = (min(x), min(y), max(x), max(y))
            layout = 'relative-xyxy'
        else:
            raise DataError(
                f'{tally.where}: a line is "class cx cy w h" or "class x1 y1 '
                f'x2 y2 x3 y3 ...", not {text!r:.80}'
            )
        line.add([box], names[label], score=score, layout=layout)
