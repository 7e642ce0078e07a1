#!/usr/bin/env python
"""Draw the shapes data set: a small world in which region-level CLIP learns.

    python projects/shapes/make_data.py data/shapes

writes ``{train,val,test}/*.jpg`` and, under ``annotations/``,
``{split}_odvg.jsonl`` (captions with phrase spans and boxes),
``instances_{split}.json`` (COCO, 80 categories) and, for val and test,
``captions_{split}.json`` (COCO); ``classes.txt``, ``base_classes.txt`` and
``novel_classes.txt`` list the categories for mmdet's ``metainfo``.
Training scenes hold the 68 base categories only; val and test hold all 80
evenly. Every scene depends on the seed, its split and its index alone, so the
files do not depend on the number of processes.
"""

import argparse
import json
import multiprocessing
from functools import partial
from pathlib import Path
from typing import Dict, List, Sequence, Tuple

try:
    from harmoclip_mm.errors import run_command
except ImportError as error:
    raise SystemExit(f'{error}; did you run `. .venv/bin/activate`?') from None

import numpy as np
from PIL import Image
from rich.progress import track

from harmoclip_mm.text import load_vocabulary
from shapes.scenes import (
    MAX_SCALE,
    TEXTURES,
    WORLDS,
    Scene,
    draw_scene,
)

SPLITS = ('train', 'val', 'test')


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description='Draw the shapes data set (ODVG and COCO annotations).'
    )
    parser.add_argument('out_dir', type=Path, help='folder to write into')
    parser.add_argument(
        '--world',
        choices=list(WORLDS),
        default='shapes',
        help='what objects are: shapes, or letters and digits (default: '
        '%(default)s)',
    )
    parser.add_argument(
        '--train', type=int, default=10000, help='images to train on'
    )
    parser.add_argument(
        '--val', type=int, default=500, help='images to validate on'
    )
    parser.add_argument(
        '--test', type=int, default=1000, help='images to test on'
    )
    parser.add_argument(
        '--size', type=int, default=80, help='side of an image in px'
    )
    parser.add_argument(
        '--objects',
        type=int,
        nargs=2,
        default=(2, 5),
        metavar=('FEWEST', 'MOST'),
        help='objects of a scene, 1 to 5 (default: 2 5)',
    )
    parser.add_argument(
        '--scale',
        type=float,
        default=1.0,
        help='factor of the sides of the objects, 0.5 to 1; to 1.6 for at '
        'most 3 objects (default: %(default)s)',
    )
    parser.add_argument(
        '--details',
        type=float,
        default=0.6,
        help='probability that a phrase tells the size of its object, and '
        'the same for the texture (default: %(default)s)',
    )
    parser.add_argument(
        '--textures',
        nargs='+',
        choices=TEXTURES,
        default=list(TEXTURES),
        help='textures of the objects (default: all)',
    )
    parser.add_argument('--seed', type=int, default=0, help='random seed')
    parser.add_argument(
        '--workers',
        type=int,
        default=multiprocessing.cpu_count(),
        help='processes that draw; the result does not depend on them',
    )
    args = parser.parse_args()
    for name in SPLITS:
        if getattr(args, name) < 0:
            parser.error(f'--{name} must not be negative')
    if args.size < 32:
        parser.error('--size must be at least 32 px to tell shapes apart')
    fewest, most = args.objects
    if not 1 <= fewest <= most <= 5:
        parser.error('--objects must be two numbers of 1 to 5 in order')
    if not 0.5 <= args.scale <= (1 if most > 3 else MAX_SCALE):
        parser.error(
            f'--scale must be 0.5 to 1, or to {MAX_SCALE} for at most 3 '
            'objects'
        )
    if not 0 <= args.details <= 1:
        parser.error('--details must be in [0, 1]')
    if args.workers < 1:
        parser.error('--workers must be at least 1')
    if args.seed < 0:
        parser.error('--seed must not be negative')
    return args


def write_scene(
    index: int,
    folder: Path,
    categories: Sequence[str],
    side: int,
    objects: Tuple[int, int],
    scale: float,
    details: float,
    textures: Sequence[str],
    seed: Tuple[int, int],
) -> Tuple[str, Scene]:
    """Draw the scene of this index into a file.

    Returns:
        tuple[str, Scene]: File name and the scene without its pixels, which
        need not travel between processes.
    """
    rng = np.random.default_rng([*seed, index])
    scene = draw_scene(
        rng, categories, side, objects, scale, details, textures
    )
    name = f'{index:06d}.jpg'
    # Full colour resolution: chroma subsampling smears colours over 2 px.
    Image.fromarray(scene.image).save(folder / name, quality=95, subsampling=0)
    return name, Scene(None, scene.caption, scene.objects)


def odvg_line(name: str, scene: Scene, side: int) -> dict:
    """One line of an ODVG grounding file."""
    regions = [
        {
            'bbox': list(thing.bbox),
            'phrase': thing.phrase,
            'tokens_positive': [list(thing.span)],
        }
        for thing in scene.objects
    ]
    return {
        'filename': name,
        'height': side,
        'width': side,
        'grounding': {'caption': scene.caption, 'regions': regions},
    }


def coco_annotations(
    scenes: Sequence[Tuple[str, Scene]], classes: Sequence[str], side: int
) -> Tuple[Dict[str, list], Dict[str, list]]:
    """COCO instances and COCO captions; ids count from 1."""
    images: List[dict] = []
    boxes: List[dict] = []
    captions: List[dict] = []
    category_ids = {name: i for i, name in enumerate(classes, 1)}
    for image_id, (name, scene) in enumerate(scenes, 1):
        images.append(
            {'id': image_id, 'file_name': name, 'height': side, 'width': side}
        )
        captions.append(
            {'id': image_id, 'image_id': image_id, 'caption': scene.caption}
        )
        for thing in scene.objects:
            x1, y1, x2, y2 = thing.bbox
            boxes.append(
                {
                    'id': len(boxes) + 1,
                    'image_id': image_id,
                    'category_id': category_ids[thing.category],
                    'bbox': [x1, y1, x2 - x1, y2 - y1],
                    'area': thing.area,
                    'iscrowd': 0,
                }
            )
    categories = [{'id': i, 'name': name} for name, i in category_ids.items()]
    return (
        {'images': images, 'annotations': boxes, 'categories': categories},
        {'images': images, 'annotations': captions},
    )


def write_split(
    split: str, count: int, args: argparse.Namespace, pool
) -> None:
    """Draw one split and write its annotations."""
    vocabulary = load_vocabulary(WORLDS[args.world])
    seen = 'base' if split == 'train' else None
    categories = vocabulary.groups[seen] if seen else vocabulary.classes
    folder = args.out_dir / split
    folder.mkdir(parents=True, exist_ok=True)
    draw = partial(
        write_scene,
        folder=folder,
        categories=categories,
        side=args.size,
        objects=tuple(args.objects),
        scale=args.scale,
        details=args.details,
        textures=args.textures,
        seed=(args.seed, SPLITS.index(split)),
    )
    scenes = list(
        track(
            pool.imap(draw, range(count), chunksize=16),
            description=f'Drawing {split:5s}',
            total=count,
        )
    )
    annotations = args.out_dir / 'annotations'
    with open(annotations / f'{split}_odvg.jsonl', 'w') as file:
        for name, scene in scenes:
            file.write(json.dumps(odvg_line(name, scene, args.size)) + '\n')
    instances, captions = coco_annotations(
        scenes, vocabulary.classes, args.size
    )
    with open(annotations / f'instances_{split}.json', 'w') as file:
        json.dump(instances, file)
    if split != 'train':
        with open(annotations / f'captions_{split}.json', 'w') as file:
            json.dump(captions, file)
    boxes = len(instances['annotations'])
    print(f'{split}: {count} images, {boxes} boxes in {folder}')


def main() -> None:
    args = parse_args()
    annotations = args.out_dir / 'annotations'
    annotations.mkdir(parents=True, exist_ok=True)
    vocabulary = load_vocabulary(WORLDS[args.world])
    lists = {'classes': vocabulary.classes}
    for group, names in vocabulary.groups.items():
        lists[f'{group}_classes'] = names
    for name, names in lists.items():
        (annotations / f'{name}.txt').write_text('\n'.join(names) + '\n')
    with multiprocessing.Pool(args.workers) as pool:
        for split in SPLITS:
            write_split(split, getattr(args, split), args, pool)


if __name__ == '__main__':
    run_command(main)
