#!/usr/bin/env python
"""Use a CLIP from the command line: classify boxes, find regions, compare.

    python demo/clip_demo.py classify-boxes ViT-B-16.pt street.jpg \\
        --boxes "10,20,90,80" --texts bus car --out-dir outputs
    python demo/clip_demo.py index-regions ViT-B-16.pt photos/ photos.index
    python demo/clip_demo.py find-regions ViT-B-16.pt photos.index \\
        --texts "a red bus" --out-dir outputs
    python demo/clip_demo.py compare-texts ViT-B-16.pt photos/ \\
        --texts "a bus" "two dogs on a beach" --out-dir outputs

`COMMAND --help` tells the options of each.
"""

import argparse
import os.path as osp
from typing import Any, List, Optional

try:
    from harmoclip_mm.errors import UsageError, run_command
except ImportError as error:
    raise SystemExit(f'{error}; did you run `. .venv/bin/activate`?') from None


def parse_args() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    commands = parser.add_subparsers(
        dest='command', metavar='COMMAND', required=True
    )

    def command(name: str, text: str) -> argparse.ArgumentParser:
        own = commands.add_parser(name, help=text, description=text)
        own.add_argument(
            'checkpoint', help='CLIP of any format that load_clip reads'
        )
        own.add_argument(
            '--arch', help='the CLIP, where its checkpoint does not tell'
        )
        own.add_argument('--device', help='default: a GPU if there is one')
        own.add_argument(
            '--trust-pickle',
            action='store_true',
            help='run the code of the file: only if you trust its source',
        )
        return own

    classify = command('classify-boxes', 'Name the boxes of images.')
    compare = command('compare-texts', 'Compare whole images with texts.')
    index = command('index-regions', 'Make an index of the regions of images.')
    find = command('find-regions', 'Find the regions that texts name.')
    for each in (classify, compare, index):
        each.add_argument('input', help='image, folder of images, or address')
        each.add_argument(
            '--batch-size',
            type=int,
            default=8,
            help='images at once (default: %(default)s)',
        )
    for each in (index, find):
        each.add_argument('index', help='folder of the index')
    for each in (classify, index):
        each.add_argument(
            '--boxes',
            required=each is classify,
            default='3',
            help='"x1,y1,x2,y2" in pixels, ";" between boxes; a COCO json; '
            'the folder preds/ of a detector of mmdet; or a number: cells a '
            'side of a grid'
            + ('' if each is classify else ' (default: %(default)s)'),
        )
        each.add_argument(
            '--img-size',
            type=int,
            help='px a side that images are resized to (default: of the CLIP)',
        )
    classify.add_argument(
        '--templates',
        default='simple',
        help='prompts of the words: none, simple, openai80, vild63 (default: '
        '%(default)s)',
    )
    find.add_argument(
        '--topk',
        type=int,
        default=10,
        help='regions of each text (default: %(default)s)',
    )
    for each in (classify, compare, find):
        words = each.add_mutually_exclusive_group(required=True)
        words.add_argument('--texts', nargs='+', metavar='TEXT', help='words')
        if each is classify:
            words.add_argument(
                '--vocabulary',
                help='the same as the name of a vocabulary (coco80) or a file',
            )
        each.add_argument(
            '--out-dir',
            default='outputs',
            help='folder for pictures and predictions (default: %(default)s)',
        )
    return parser.parse_args()


def read_boxes(text: str, image: str) -> Any:
    """What ``--boxes`` says."""
    if text.isdigit():
        return int(text)
    if osp.exists(text):
        return text
    try:
        boxes: Optional[List[List[float]]] = [
            [float(value) for value in box.split(',')]
            for box in text.split(';')
        ]
    except ValueError:
        boxes = None
    if boxes is None or {len(box) for box in boxes} != {4}:
        raise UsageError(
            f'--boxes {text}: no such file or folder, and not "x1,y1,x2,y2"'
        )
    if osp.isdir(image):
        raise UsageError('--boxes of numbers are of one image, not a folder')
    return [boxes]


def main() -> None:
    """Run the command."""
    args = parse_args()
    image = getattr(args, 'input', '')
    if image and '://' not in image and not osp.exists(image):
        raise UsageError(f'{image} does not exist')
    boxes = read_boxes(args.boxes, image) if 'boxes' in args else None
    from harmoclip_mm import apis
    from harmoclip_mm.text import load_vocabulary

    common = dict(
        arch=args.arch, device=args.device, trust_pickle=args.trust_pickle
    )
    if args.command == 'classify-boxes':
        classify = apis.RegionClassificationInferencer(
            args.checkpoint,
            img_size=args.img_size,
            templates=args.templates,
            **common,
        )
        found = classify(
            image,
            boxes,
            args.texts or load_vocabulary(args.vocabulary),
            batch_size=args.batch_size,
            out_dir=args.out_dir,
        )
    elif args.command == 'compare-texts':
        compare = apis.ImageTextInferencer(args.checkpoint, **common)
        found = compare(
            image,
            args.texts,
            batch_size=args.batch_size,
            out_dir=args.out_dir,
        )
    elif args.command == 'index-regions':
        retrieve = apis.RegionRetrievalInferencer(
            args.checkpoint, img_size=args.img_size, **common
        )
        written = retrieve.build_index(
            image, args.index, boxes, args.batch_size
        )
        print(f'Wrote {args.index}: {len(written.features)} regions')
        return
    else:
        retrieve = apis.RegionRetrievalInferencer(args.checkpoint, **common)
        found = retrieve(
            args.texts, args.index, args.topk, out_dir=args.out_dir
        )
        for text, hits in zip(args.texts, found['predictions']):
            print(text)
            for hit in hits:
                box = ', '.join(f'{value:.0f}' for value in hit['bbox'])
                print(f'  {hit["score"]:.3f}  {hit["img_path"]}  {box}')
    print(f'Wrote {len(found["predictions"])} results into {args.out_dir}')


if __name__ == '__main__':
    run_command(main)
