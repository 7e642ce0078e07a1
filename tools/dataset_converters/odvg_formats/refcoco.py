"""RefCOCO, RefCOCO+ and RefCOCOg: expressions that refer to one box.

SOURCE is a folder with refs(unc).p, refs(google).p or refs(umd).p and
instances.json, or one of these refs files. Pickles are read without running
code of theirs. Line n of an image has the n-th expression of each of its
objects, a text of its own: two expressions of one box are no negatives of each
other. mmdet's refcoco2odvg reads MDETR's JSON files of the same data, in which
each expression is a caption.
"""

import pickle
from itertools import zip_longest
from pathlib import Path
from typing import Iterator, List

from harmoclip_mm.coco_file import check_fields
from harmoclip_mm.errors import DataError

from .coco import read_image
from .lines import Line, Tally
from .reading import iter_json, require

ARGUMENTS = {
    '--split': dict(help='train, val, testA, testB or test (default: all)')
}


def list_parts(args) -> List[Path]:
    """The refs file."""
    source = require(args.source, 'it should be a folder of RefCOCO')
    found = [source]
    if source.is_dir():
        found = sorted(source.glob('refs(*).p'))
    if len(found) != 1:
        raise DataError(
            f'{source} should have one file refs(unc).p, refs(google).p or '
            f'refs(umd).p; it has {[file.name for file in found]}. Give the '
            'file itself as SOURCE'
        )
    require(found[0].with_name('instances.json'), 'it has the boxes')
    return found


def _read_refs(file: Path) -> list:
    from harmoclip_mm.unpickling import load

    try:
        with open(file, 'rb') as opened:
            return load(opened, encoding='latin1')
    except pickle.UnpicklingError as error:
        raise DataError(
            f'{file}: not the plain data of RefCOCO, so it is not read '
            f'({error})'
        ) from error
    except Exception as error:  # of a cut or foreign file: any
        raise DataError(f'{file}: not a pickle ({error!r})') from error


def read(part: Path, args, tally: Tally) -> Iterator[dict]:
    """Lines of each image."""
    tally.where, refs = str(part), _read_refs(part)
    splits = sorted({str(ref['split']) for ref in refs})
    if args.split:
        refs = [ref for ref in refs if ref['split'] == args.split]
        if not refs:
            raise DataError(f'{part} has no split {args.split}, but {splits}')
    wanted = {ref['ann_id'] for ref in refs}
    images, boxes = {}, {}
    instances = part.with_name('instances.json')
    for key, item in iter_json(instances, tally):
        where = f'{instances}: an element of {key}'
        if key == 'images':
            images[item['id']] = read_image(item, where)
        elif key == 'annotations':
            check_fields(item, where, id='id', bbox='box')
            if item['id'] in wanted:
                boxes[item['id']] = item['bbox']
    by_image = {}
    for ref in refs:
        by_image.setdefault(ref['image_id'], []).append(ref)
    for image_id, found in by_image.items():
        tally.where = f'{part}: image {image_id}'
        if image_id not in images:
            tally.drop('images that instances.json does not list')
            continue
        texts = [
            [(ref, x.get('sent', x.get('raw'))) for x in ref['sentences']]
            for ref in found
        ]
        for row in zip_longest(*texts):
            line = Line(tally, *images[image_id])
            for ref, text in filter(None, row):
                tally.where = f'{part}: ref {ref.get("ref_id")}'
                if ref['ann_id'] in boxes:
                    box = boxes[ref['ann_id']]
                    line.add([box], text, layout='xywh')
                else:
                    tally.drop('expressions whose box is not listed')
            yield line.grounding()
