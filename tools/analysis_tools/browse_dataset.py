"""Look at a data set: boxes with their phrases, captions with their spans.

    python tools/analysis_tools/browse_dataset.py CONFIG --output-dir browse

saves pictures as the annotations have them; ``--mode pipeline`` shows what
the model gets instead, after resizing, flips and the choice of regions.
``--page`` writes one HTML page about the data set instead: counts, lengths and
sizes, frequent phrases, what looks wrong, and samples.
"""

import argparse
from pathlib import Path
from typing import Any, Callable, List, Mapping, Tuple

try:
    from harmoclip_mm.errors import UsageError, run_command
except ImportError as error:
    raise SystemExit(f'{error}; did you run `. .venv/bin/activate`?') from None

import numpy as np
from mmengine.config import Config
from mmengine.registry import init_default_scope
from rich.progress import track

from harmoclip_mm.apis import load_config
from harmoclip_mm.command_line import add_config_option
from harmoclip_mm.registry import VISUALIZERS
from harmoclip_mm.text import captions_of, phrases_of


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description='Draw the samples of a data set with their texts.'
    )
    parser.add_argument('config', help='config file')
    parser.add_argument(
        '--output-dir',
        type=Path,
        default=Path('work_dirs/browse'),
        help='folder for the pictures (default: %(default)s)',
    )
    parser.add_argument(
        '--mode',
        choices=('original', 'pipeline'),
        default='original',
        help='as annotated, or after the pipeline (default: %(default)s)',
    )
    parser.add_argument(
        '--split',
        choices=('train', 'val', 'test'),
        default='train',
        help='which dataloader of the config (default: %(default)s)',
    )
    parser.add_argument(
        '--number',
        type=int,
        help='samples to draw, from the first on (default: 20), or to show '
        'on the page, evenly spread (default: 50); 0 takes all',
    )
    parser.add_argument(
        '--page',
        action='store_true',
        help='write OUTPUT_DIR/index.html, a page about the data set, '
        'instead of pictures',
    )
    parser.add_argument(
        '--page-samples',
        type=int,
        default=100000,
        metavar='N',
        help='samples that figures of the page are of, evenly spread; 0 '
        'takes all (default: %(default)s)',
    )
    parser.add_argument(
        '--seed', type=int, default=0, help='seed of the pipeline'
    )
    add_config_option(parser, 'train_dataloader.dataset.indices=9')
    args = parser.parse_args()
    if args.page and args.mode != 'original':
        parser.error('--page shows samples as annotated: leave out --mode')
    if args.number is None:
        args.number = 50 if args.page else 20
    if min(args.number, args.page_samples) < 0:
        parser.error('--number and --page-samples must not be negative')
    return args


def dataset_of(config: Config, split: str):
    """Build the data set of a split.

    Raises:
        UsageError: If the config has no such dataloader, or it has no sample.
    """
    from harmoclip_mm.engine import build_dataset, quieten_libraries

    quieten_libraries()
    loader = config.get(f'{split}_dataloader')
    if not loader:
        raise UsageError(
            f'{config.filename} has no {split}_dataloader; choose another '
            '--split'
        )
    return build_dataset(loader['dataset'])


def image_loader(dataset) -> Callable[[Mapping[str, Any]], np.ndarray]:
    """What gives the image of a sample as its boxes are of it, RGB uint8
    (H, W, 3), or refuses it, as the data set does."""
    from harmoclip_mm.datasets.base import leaf_datasets
    from harmoclip_mm.datasets.transforms import LoadCheckedImage

    options = {}
    for step in next(leaf_datasets(dataset)).pipeline.transforms[:1]:
        for name in ('color_type', 'backend_args'):
            if hasattr(step, name):
                options[name] = getattr(step, name)
    loader = LoadCheckedImage(**options)
    return lambda info: np.ascontiguousarray(
        loader(dict(info))['img'][..., ::-1]
    )


def draw(
    dataset, index: int, mode: str, load_image, visualizer
) -> Tuple[np.ndarray, str]:
    """Draw a sample as its annotations have it, or as the model gets it, which
    may be another one in place of a bad image; and the path of its image."""
    if mode == 'pipeline':
        packed = dataset[index]
        image = packed['inputs'].numpy().transpose(1, 2, 0)[..., ::-1]
        visualizer.add_datasample(
            str(index),
            np.ascontiguousarray(image),
            packed['data_samples'],
            draw_pred=False,
        )
        return visualizer.get_image(), packed['data_samples'].img_path
    info = dataset.get_data_info(index)
    phrases = info.get('phrases', {}).values()
    instances = info.get('instances', [])
    picture = visualizer.draw_region_text(
        load_image(info),
        [instance['bbox'] for instance in instances],
        [instance['bbox_label'] for instance in instances],
        phrases_of(info) or dataset.metainfo.get('classes', ()),
        '\n'.join(captions_of(info)),
        [each['tokens_positive'] for each in phrases],
    )
    return picture, info['img_path']


def spread(total: int, number: int) -> List[int]:
    """So many of all indices, evenly spread; 0 gives all."""
    number = min(number or total, total)
    return [index * total // number for index in range(number)]


def write_report(dataset, args: argparse.Namespace) -> None:
    """Write the page about a data set."""
    from harmoclip_mm.datasets.base import leaf_datasets
    from harmoclip_mm.datasets.figures import DatasetFigures, ModelInput
    from harmoclip_mm.visualization.dataset_report import write_page

    first = next(leaf_datasets(dataset))
    seen = ModelInput.of_pipeline(first.pipeline.transforms)
    classes = dataset.metainfo.get('classes', ())
    figures = DatasetFigures(seen, classes)
    total = len(dataset)
    for index in track(spread(total, args.page_samples), 'Counting'):
        figures.add(dataset.get_data_info(index))
    out_file = args.output_dir / 'index.html'
    said = figures.say_boxes(dataset)
    warnings = write_page(
        out_file,
        figures,
        [dataset.get_data_info(i) for i in spread(total, args.number)],
        image_loader(dataset),
        f'{args.split}_dataloader of {args.config}',
        total,
        classes,
        said=said,
    )
    for warning in warnings:
        print(warning)
    print(f'{figures.samples} samples with {said}: open {out_file}')


def main() -> None:
    args = parse_args()
    import mmcv

    from harmoclip_mm.datasets.transforms import BadImageError

    config = load_config(args.config, args.cfg_options)
    init_default_scope(config.get('default_scope', 'harmoclip_mm'))
    np.random.seed(args.seed)
    dataset = dataset_of(config, args.split)
    if args.page:
        write_report(dataset, args)
        return
    visualizer = VISUALIZERS.build(
        {'type': 'harmoclip_mm.RegionTextVisualizer', 'name': 'browse'}
    )
    visualizer.dataset_meta = dataset.metainfo
    count = min(args.number or len(dataset), len(dataset))
    load_image, saved = image_loader(dataset), 0
    for index in track(range(count), description='Drawing'):
        try:
            picture, path = draw(
                dataset, index, args.mode, load_image, visualizer
            )
        except (BadImageError, OSError) as error:
            print(f'left out: {error}')
            continue
        name = f'{index:06d}_{Path(path).stem}.png'
        mmcv.imwrite(picture[..., ::-1], str(args.output_dir / name))
        saved += 1
    print(f'{saved} pictures of {len(dataset)} samples in {args.output_dir}')


if __name__ == '__main__':
    run_command(main)
