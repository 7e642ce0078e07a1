#!/usr/bin/env python
"""Time training, data and evaluation, beside what they are to be held against.

    python tools/analysis_tools/benchmark_speed.py training --clip EVA02-B-16
    python tools/analysis_tools/benchmark_speed.py data --config CONFIG
    python tools/analysis_tools/benchmark_speed.py evaluation --out speed.json

--help behind each of the three tells what it measures.
"""

import argparse
import json
import platform
import re
from datetime import date
from functools import partial
from importlib import import_module
from pathlib import Path
from typing import Any, Callable

try:
    from harmoclip_mm.errors import run_command
except ImportError as error:
    raise SystemExit(f'{error}; did you run `. .venv/bin/activate`?') from None

from mmengine.config import DictAction
from mmengine.logging import MMLogger
from rich import print_json

REPOSITORY = Path(__file__).resolve().parents[2]
PRECISIONS = ('bf16', 'fp16', 'fp32')


def speed_training(option: Callable[..., Any]) -> None:
    """A training step of HarmoCLIP and its parts beside open_clip's own.

    A step is the forward, the loss and the backward of one batch; AdamW's
    update, the same for everybody, is a case of its own. All cases take
    turns, and a ratio is the median of the rounds' ratios: what disturbs
    the machine disturbs both sides. Operations are counted by torch and
    held against matrix products timed in the same round. Weights are
    random and photos made up, which changes no time. Where the files of a
    CLIP's tokenizer are not at hand, texts are random ids of its whole
    context.
    """
    config = str(REPOSITORY / 'configs/harmoclip_vitb16_coco.py')
    option('config', config, 'config whose heads are timed')
    option('clip', '', 'a CLIP in place of that of the config')
    option('device', '', 'cpu or cuda (default: a GPU if there is one)')
    option('precision', 'fp32', 'of autocast', choices=PRECISIONS)
    option('batch-size', 16, 'images of a step')
    option('regions', [0, 1, 10, 100], 'regions an image, a case each', 0)
    option('crop-batch-size', 2, 'images where regions are cropped, or 0', 0)
    option('crop-regions', 10, 'regions an image there')
    option('rounds', 3, 'timed steps of each case')


def speed_data(option: Callable[..., Any]) -> None:
    """The data side: the index of a large file, and what a sample costs.

    --lines N writes an ODVG file of N synthetic lines, and measures how
    long it takes to index and to open, and what random access costs worker
    processes. --tars puts an image of 1 px for each line, and its caption,
    into so many tars, and workers read images too. --config measures each
    transform of a config's pipeline on its own images, or on --photos N that
    are made up, the way of a batch from a worker to the main process, and
    the data loader as a whole.
    """
    option('lines', 0, 'lines of an ODVG file to write and read', 0)
    option('tars', 0, 'tars with an image of each line, 2 GB a million', 0)
    option('folder', '', 'where to write them, 0.5 GB a million lines')
    option('reads', 20000, 'lines that each worker reads at random')
    option('workers', 4, 'processes that read the file, or load images')
    option('config', '', 'config of the pipeline to measure')
    option('split', 'train', 'its loader', choices=('train', 'val', 'test'))
    option('photos', 0, "photos made up in place of the config's own", 0)
    option('images', 200, 'samples to measure; few are run through again')
    option('batches', 10, 'batches to send from a worker, and to load')
    settings = dict(action=DictAction, nargs='+', type=str)
    option(
        'cfg-options', None, 'settings of the config, KEY=VALUE', **settings
    )


def speed_evaluation(option: Callable[..., Any]) -> None:
    """Box features of one dense map, or of a crop for each box.

    A tower of random weights encodes random images, since neither changes
    the time.
    """
    option('clip', 'ViT-B-16-quickgelu', 'the CLIP')
    option('sizes', [224, 1024], 'sides of the square images in pixels')
    option('boxes', [1, 10, 50], 'boxes an image')
    option('batch-size', 1, 'images encoded together')
    option('device', '', 'cpu or cuda (default: a GPU if there is one)')
    option('precision', 'fp32', 'of autocast', choices=PRECISIONS)
    option('rounds', 3, 'timed calls, of which the median counts')


PARTS = dict(
    training=speed_training, data=speed_data, evaluation=speed_evaluation
)


def parse_args() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parts = parser.add_subparsers(dest='part', required=True)
    for name, add_options in PARTS.items():
        part = parts.add_parser(name, description=add_options.__doc__)
        add_options(partial(add_option, part))
        part.add_argument('--out', help='JSON file for all figures')
    args = parser.parse_args()
    if args.out and not args.out.endswith('.json'):
        parser.error('--out must name a .json file')
    return args


def add_option(
    parser: argparse.ArgumentParser,
    name: str,
    default: Any,
    text: str,
    least: int = 1,
    **kwargs: Any,
) -> None:
    """Adds an option of its default's type; a list takes several, and no
    number is below ``least``."""

    def number(word: str) -> int:
        if int(word) < least:
            raise argparse.ArgumentTypeError(f'must be at least {least}')
        return int(word)

    if isinstance(default, list):
        kwargs['nargs'] = '+'
    if isinstance(default, (int, list)):
        kwargs['type'] = number
    if default:
        text += ' (default: %(default)s)'
    parser.add_argument(f'--{name}', default=default, help=text, **kwargs)


def device_name(device: str) -> str:
    """What the figures were measured on."""
    import torch

    if device.startswith('cuda'):
        return torch.cuda.get_device_name()
    info = Path('/proc/cpuinfo')  # of Linux; elsewhere platform knows
    text = info.read_text() if info.exists() else ''
    found = re.search(r'^model name\s*: (.*)$', text, re.M)
    return found[1] if found else platform.processor()


def main() -> None:
    """Run a benchmark."""
    args = parse_args()
    import torch
    from mmengine.device import get_device

    if 'device' in args:
        args.device = args.device or get_device()
    MMLogger.get_instance('benchmark_speed', log_level='WARNING')
    about = dict(
        date=date.today().isoformat(),
        device=device_name(vars(args).get('device', 'cpu')),
        threads=torch.get_num_threads(),
        torch=torch.__version__,
    )
    figures = import_module(PARTS[args.part].__name__).run(args)
    # four digits are enough to read
    text = json.dumps({**about, **figures})
    read = partial(json.loads, parse_float=lambda x: float(f'{float(x):.4g}'))
    print_json(data=read(text))
    if args.out:
        Path(args.out).parent.mkdir(parents=True, exist_ok=True)
        content = {**about, 'settings': vars(args), **figures}
        Path(args.out).write_text(json.dumps(content, indent=2) + '\n')
        print(f'The figures are in {args.out}')


if __name__ == '__main__':
    run_command(main)
