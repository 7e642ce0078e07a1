"""Files of images with captions: COCO's, Karpathy's splits, DCI and DOCCI."""

import os.path as osp
from collections import Counter
from pathlib import Path
from typing import Any, Dict, List, Optional, Sequence

import mmengine.fileio as fileio

from harmoclip_mm.coco_file import (
    check_fields,
    check_members,
    check_records,
    read_json,
    read_json_lines,
)
from harmoclip_mm.errors import DataError

KARPATHY = (
    'take it from caption_datasets.zip of '
    'https://cs.stanford.edu/people/karpathy/deepimagesent/'
)
_DCI = (
    'give the folder annotations/ of '
    'https://github.com/facebookresearch/DCI as it is'
)
_DOCCI = 'take docci_descriptions.jsonlines of https://google.github.io/docci/'
_SPLITS = Path(__file__).parent / 'data'
_SIDES = dict(height='size?', width='size?')


def read_captions(
    path: str,
    splits: Optional[Sequence[str]] = None,
    backend_args: Optional[dict] = None,
) -> List[Dict[str, Any]]:
    """Read a file of captions; its format is told by its content.

    COCO captions (``captions_val2017.json``); the splits of Karpathy and
    Fei-Fei (CVPR 2015), ``dataset_flickr30k.json`` and ``dataset_coco.json``;
    ``docci_descriptions.jsonlines`` of DOCCI (arXiv 2404.19753); or the folder
    ``annotations/`` of Densely Captioned Images (DCI, arXiv 2312.08578), by
    the names of its files. DCI's caption is the "extended" one: the short
    caption, and in a second line what its annotators said besides; captions of
    masks are left out.

    Args:
        path (str): The file or folder.
        splits (Sequence[str], optional): Splits that are wanted; of COCO
            captions only ``'test'``. Defaults to None: all.
        backend_args (dict, optional): Its file backend.

    Returns:
        list[dict]: Of each image ``id``, ``file_name``, ``captions`` (list of
        str), and ``height`` and ``width`` in px where the file has them; in
        the order of the file.

    Raises:
        DataError: If it has none of the formats, lacks an image of the split,
            has an image twice or captions of an image that it does not list.
    """
    if path.endswith('.jsonlines'):
        images = _read_docci(path, splits, backend_args)
    elif not path.endswith('.json') and fileio.isdir(
        path, backend_args=backend_args
    ):
        images = _read_dci(path, backend_args)
    else:
        content = read_json(path, KARPATHY, backend_args)
        if not isinstance(content, dict) or 'images' not in content:
            raise DataError(
                f'{path} is not a COCO captions file, nor a Karpathy split: '
                "it has no list 'images'"
            )
        read = _read_coco if 'annotations' in content else _read_karpathy
        images = read(content, path, splits)
    ids = Counter(image['id'] for image in images)
    number, count = ids.most_common(1)[0] if ids else (None, 0)
    if count > 1:
        raise DataError(
            f'{path} lists image {number} {count} times; give each image an '
            'id of its own'
        )
    return images


def _read_coco(
    content: dict, path: str, splits: Optional[Sequence[str]]
) -> List[dict]:
    kinds = dict(id='id', file_name='name', **_SIDES)
    images = check_records(content, 'images', path, **kinds)
    found = {image['id']: dict(image, captions=[]) for image in images}
    number = 'id' if splits else 'id?'  # captions are put in order
    kinds = dict(id=number, image_id='id', caption='text')
    annotations = check_records(content, 'annotations', path, **kinds)
    check_members(annotations, 'image_id', found, path)
    if splits:  # as Karpathy's file orders them
        annotations = sorted(annotations, key=lambda each: each['id'])
    for each in annotations:
        found[each['image_id']]['captions'].append(each['caption'])
    if not splits:
        return list(found.values())
    if tuple(splits) != ('test',):
        raise DataError(
            f'split={splits}: of the splits of Karpathy only "test" ships '
            f'with the package, and {path} is a COCO captions file; for '
            'another one take dataset_coco.json'
        )
    lines = (_SPLITS / 'karpathy_coco_test.txt').read_text().split()
    chosen = [int(line) for line in lines]
    missing = [number for number in chosen if number not in found]
    if missing:
        raise DataError(
            f'{path} lacks {len(missing)} of the {len(chosen)} images of the '
            f'split, the first is image {missing[0]}: take '
            'captions_val2014.json of COCO, which has them all'
        )
    wanted = frozenset(chosen)
    images = [image for image in found.values() if image['id'] in wanted]
    for image in images:  # COCO_val2014_000000000042.jpg
        folder = image['file_name'].split('_')[1:2]
        image['file_name'] = osp.join(*folder, image['file_name'])
    return images


def _read_karpathy(
    content: dict, path: str, splits: Optional[Sequence[str]]
) -> List[dict]:
    split = 'text' if splits else 'text?'
    kinds = dict(filename='name', filepath='text?', sentences='list', **_SIDES)
    ids = dict(imgid='id?', cocoid='id?')
    images = check_records(
        content, 'images', path, split=split, **kinds, **ids
    )
    found = []
    for image in images:
        if splits and image['split'] not in splits:
            continue
        where = f'{path}, image {image["filename"]}'
        sentences = check_records(image, 'sentences', where, raw='text')
        if 'cocoid' not in image and 'imgid' not in image:
            raise DataError(f'{where} has neither cocoid nor imgid')
        # dataset_coco.json names the folder (val2014) of each image.
        name = osp.join(image.get('filepath', ''), image['filename'])
        image['id'] = image.get('cocoid', image.get('imgid'))
        image['captions'] = [each['raw'] for each in sentences]
        found.append(dict(image, file_name=name))
    return found


def _read_dci(folder: str, backend_args: Optional[dict]) -> List[dict]:
    found = []
    names = fileio.list_dir_or_file(
        folder, list_dir=False, suffix='.json', backend_args=backend_args
    )
    for path in (osp.join(folder, name) for name in sorted(names)):
        content = read_json(path, _DCI, backend_args)
        texts = dict(short_caption='text', extra_caption='text')
        where = f'{path} is none of DCI, {_DCI}'
        check_fields(content, where, image='name', **texts)
        name = content['image']
        caption = f'{content["short_caption"]}\n{content["extra_caption"]}'
        stem = osp.splitext(osp.basename(name))[0]
        found.append(_single(stem, name, caption.strip()))
    return found


def _read_docci(
    path: str, splits: Optional[Sequence[str]], backend_args: Optional[dict]
) -> List[dict]:
    found = []
    kinds = dict(example_id='id', image_file='name')
    kinds.update(description='text', split='text')
    for where, each in read_json_lines(path, _DOCCI, backend_args):
        check_fields(each, f'{where} is none of DOCCI, {_DOCCI}', **kinds)
        if not splits or each['split'] in splits:
            image = each['example_id'], each['image_file']
            found.append(_single(*image, each['description']))
    return found


def _single(image_id: Any, name: str, caption: str) -> dict:
    captions = [caption] if caption else []
    return dict(id=image_id, file_name=name, captions=captions)
