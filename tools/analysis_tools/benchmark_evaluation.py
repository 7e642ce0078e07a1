#!/usr/bin/env python
"""Time the two ways to box features: one dense map, or a crop for each box.

    python tools/analysis_tools/benchmark_evaluation.py --out speed.json

takes some minutes on 2 CPU cores.

A model of random weights encodes random images, since neither changes the
time. The classifier, which is built once for each evaluation, is timed apart.
"""

import argparse
import contextlib
import json
from pathlib import Path
from typing import Callable, Dict, List

import torch
from mmengine.device import get_device
from rich.console import Console
from rich.progress import Progress
from rich.table import Table
from timing import measure
from torch import Tensor

from harmoclip_mm.apis import UsageError, run_command
from harmoclip_mm.models.layers import LogitScale
from harmoclip_mm.models.utils import RegionBatch
from harmoclip_mm.registry import MODELS

# CLIP's sizes: layers and heads of the text tower, width of the joint space
ARCHES = {
    'tiny': dict(
        vision=dict(
            embed_dims=128, num_layers=4, num_heads=4, feedforward_channels=512
        ),
        patch_size=16,
        text=dict(embed_dims=128, num_layers=2, num_heads=4, out_dims=128),
    ),
    'base': dict(
        vision='base',
        patch_size=16,
        text=dict(embed_dims=512, num_layers=12, num_heads=8, out_dims=512),
    ),
    'large': dict(
        vision='large',
        patch_size=14,
        text=dict(embed_dims=768, num_layers=12, num_heads=12, out_dims=768),
    ),
}
PRECISIONS = {
    'fp32': None,
    'fp16': torch.float16,
    'bf16': torch.bfloat16,
}


def parse_args() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(
        description='Time box features of a dense map against crops.'
    )
    parser.add_argument(
        '--arch',
        choices=ARCHES,
        default='base',
        help='vision tower: ViT-B/16, ViT-L/14, or a tiny one '
        '(default: %(default)s)',
    )
    parser.add_argument(
        '--sizes',
        type=int,
        nargs='+',
        default=[224, 1024],
        help='side of the square images in pixels (default: 224 1024)',
    )
    parser.add_argument(
        '--boxes',
        type=int,
        nargs='+',
        default=[1, 10, 50],
        help='boxes an image (default: 1 10 50)',
    )
    parser.add_argument(
        '--batch-size',
        type=int,
        default=1,
        help='images encoded together (default: %(default)s)',
    )
    parser.add_argument(
        '--crop-size',
        type=int,
        default=224,
        help='side of an encoded crop in pixels (default: %(default)s)',
    )
    parser.add_argument(
        '--vocabulary',
        default='coco80',
        help='classes of the classifier, name or file (default: %(default)s)',
    )
    parser.add_argument(
        '--templates',
        default='simple',
        help='prompts of the classifier (default: %(default)s); "openai80" '
        'takes 80 times as long to build',
    )
    parser.add_argument(
        '--device',
        default=get_device(),
        help='where to compute (default: %(default)s)',
    )
    parser.add_argument(
        '--precision',
        choices=PRECISIONS,
        default='fp32',
        help='fp16 and bf16 run under autocast (default: %(default)s)',
    )
    parser.add_argument(
        '--repeats',
        type=int,
        default=3,
        help='timed calls, of which the median counts (default: %(default)s)',
    )
    parser.add_argument(
        '--warmup',
        type=int,
        default=1,
        help='calls of each way that come before, at each image size '
        '(default: %(default)s)',
    )
    parser.add_argument(
        '--out',
        type=Path,
        metavar='FILE.json',
        help='write the figures as JSON',
    )
    args = parser.parse_args()
    for name in ('sizes', 'boxes', 'batch_size', 'crop_size', 'repeats'):
        values = getattr(args, name)
        if min(values if isinstance(values, list) else [values]) < 1:
            parser.error(f'--{name.replace("_", "-")} must be at least 1')
    if args.warmup < 0:
        parser.error('--warmup must not be negative')
    if args.out and args.out.suffix != '.json':
        parser.error('--out must name a .json file')
    return args


def check_size(arch: str, size: int) -> None:
    """Refuse sides that are no multiple of the patch.

    Raises:
        UsageError: If this one is not.
    """
    patch_size = ARCHES[arch]['patch_size']
    if size % patch_size:
        below = size // patch_size * patch_size
        raise UsageError(
            f'{size} px are not a multiple of the {patch_size} px patches of '
            f'--arch {arch}; take {below or patch_size} or '
            f'{below + patch_size}'
        )


def build_tower(arch: str, size: int) -> torch.nn.Module:
    """The vision tower for images of one size."""
    return MODELS.build(
        dict(
            type='HarmoCLIPViT',
            arch=ARCHES[arch]['vision'],
            img_size=size,
            patch_size=ARCHES[arch]['patch_size'],
            out_dims=ARCHES[arch]['text']['out_dims'],
        )
    ).eval()


def random_regions(
    num_images: int, num_boxes: int, size: int, device: str
) -> RegionBatch:
    """Boxes of a quarter to all of each side."""
    sides = (0.25 + 0.75 * torch.rand(num_images, num_boxes, 2)) * size
    start = torch.rand_like(sides) * (size - sides)
    boxes = torch.cat([start, start + sides], dim=-1).to(device)
    return RegionBatch.from_boxes(list(boxes))


def time_classifier(args: argparse.Namespace) -> Dict[str, float]:
    """Seconds of building the classifier, and of scoring 1000 boxes."""
    text = ARCHES[args.arch]['text']
    tower = MODELS.build(dict(type='CLIPTextTransformer', **text))
    tower = tower.eval().to(args.device)
    classifier = MODELS.build(
        dict(
            type='ZeroShotClassifier',
            vocabulary=args.vocabulary,
            templates=args.templates,
        )
    ).eval()
    scale = LogitScale().to(args.device)()
    embeddings = torch.randn(1000, text['out_dims'], device=args.device)

    def build() -> None:
        classifier.eval()  # forgets
        classifier.class_embeddings(tower)

    return {
        'classes': len(classifier.vocabulary),
        'templates': len(classifier.templates),
        # the first call tokenises too, as every evaluation does
        'build_seconds': measure(build, repeats=1, warmup=0),
        'score_1000_boxes_seconds': measure(
            lambda: classifier(embeddings, tower, scale), args.repeats
        ),
    }


def time_size(
    args: argparse.Namespace, size: int, step: Callable[[str], None]
) -> List[Dict[str, float]]:
    """Images a second of both ways at one image size."""
    tower = build_tower(args.arch, size).to(args.device)
    crops_tower = build_tower(args.arch, args.crop_size).to(args.device)
    on_map = MODELS.build(dict(type='RoIFeatureExtractor'))
    on_crops = MODELS.build(
        dict(type='CropFeatureExtractor', crop_size=args.crop_size)
    )
    images = torch.randn(args.batch_size, 3, size, size, device=args.device)
    rows = []
    for num_boxes in args.boxes:
        regions = random_regions(args.batch_size, num_boxes, size, args.device)

        def dense(regions: RegionBatch = regions) -> Tensor:
            maps = tower.encode(images, with_pooled=False).dense
            return on_map(maps, regions, images, tower)

        def crops(regions: RegionBatch = regions) -> Tensor:
            return on_crops(None, regions, images, crops_tower)

        seconds = {}
        for name, function in (('dense', dense), ('crops', crops)):
            step(f'{size} px, {num_boxes} boxes, {name}')
            warmup = 0 if rows else args.warmup
            seconds[name] = measure(function, args.repeats, warmup)
        rows.append(
            {
                'size': size,
                'boxes': num_boxes,
                'dense_images_per_second': args.batch_size / seconds['dense'],
                'crop_images_per_second': args.batch_size / seconds['crops'],
                'speedup': seconds['crops'] / seconds['dense'],
            }
        )
    return rows


def show(rows: List[dict], classifier: dict, title: str) -> None:
    """Print the table."""
    table = Table(title=title)
    for name in (
        'image, px',
        'boxes an image',
        'dense + RoI, images/s',
        'crops, images/s',
        'speed-up',
    ):
        table.add_column(name, justify='right')
    for row in rows:
        table.add_row(
            str(row['size']),
            str(row['boxes']),
            f'{row["dense_images_per_second"]:.2f}',
            f'{row["crop_images_per_second"]:.2f}',
            f'{row["speedup"]:.1f} x',
        )
    console = Console()
    console.print(table)
    console.print(
        f'Classifier of {classifier["classes"]} classes x '
        f'{classifier["templates"]} templates: '
        f'{classifier["build_seconds"]:.2f} s, once; 1000 boxes against it: '
        f'{1000 * classifier["score_1000_boxes_seconds"]:.2f} ms'
    )


def main() -> None:
    """Run the benchmark."""
    args = parse_args()
    torch.manual_seed(0)
    for size in (*args.sizes, args.crop_size):  # before anything is timed
        check_size(args.arch, size)
    dtype = PRECISIONS[args.precision]
    context = contextlib.nullcontext()
    if dtype is not None:
        context = torch.autocast(torch.device(args.device).type, dtype)
    rows: List[dict] = []
    with Progress() as progress, torch.no_grad(), context:
        steps = 1 + 2 * len(args.sizes) * len(args.boxes)
        task = progress.add_task('classifier', total=steps)

        def step(description: str) -> None:
            progress.update(task, advance=1, description=description)

        classifier = time_classifier(args)
        for size in args.sizes:
            rows += time_size(args, size, step)
        progress.update(task, completed=steps, description='done')
    title = (
        f'{args.arch}, {args.precision}, {args.device}, batches of '
        f'{args.batch_size}, {torch.get_num_threads()} threads'
    )
    show(rows, classifier, title)
    if args.out:
        settings = {
            key: value for key, value in vars(args).items() if key != 'out'
        }
        content = {
            'settings': {
                **settings,
                'torch': torch.__version__,
                'threads': torch.get_num_threads(),
            },
            'classifier': classifier,
            'results': rows,
        }
        args.out.parent.mkdir(parents=True, exist_ok=True)
        args.out.write_text(json.dumps(content, indent=2) + '\n')
        print(f'The figures are in {args.out}')


if __name__ == '__main__':
    run_command(main)
