#!/usr/bin/env python
"""Train tiny CLIP and tiny HarmoCLIP on shapes and compare them.

Both start from the same weights of the towers, see the same images for the
same number of steps and are tested by tools/test.py on the same test images.
Figures go to report.json, a picture to report.png.
"""

import argparse
import json
import os
import platform
import time
from datetime import datetime, timezone
from pathlib import Path
from typing import Dict, List

try:
    from harmoclip_mm.errors import UsageError, run_command
except ImportError as error:
    raise SystemExit(f'{error}; did you run `. .venv/bin/activate`?') from None

import mmengine
from mmengine.config import Config
from mmengine.logging import MMLogger
from mmengine.registry import init_default_scope
from rich.console import Console

from harmoclip_mm.apis import load_config
from harmoclip_mm.registry import MODELS
from shapes.children import REPOSITORY, Children, format_seconds
from shapes.plan import QUICKSTART_NAMES as METHOD_NAMES
from shapes.plan import config_of

CONFIGS = {method: config_of(method) for method in METHOD_NAMES}


def parse_args() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument(
        '--work-dir',
        type=Path,
        default=Path('work_dirs/quickstart'),
        help='folder of data, logs and report (default: %(default)s)',
    )
    parser.add_argument(
        '--epochs',
        type=int,
        help='length of both trainings (default: that of the configs)',
    )
    parser.add_argument(
        '--batch-size', type=int, help='images a step (default: as --epochs)'
    )
    for split, count in (('train', 12000), ('val', 500), ('test', 1000)):
        parser.add_argument(
            f'--{split}',
            type=int,
            default=count,
            metavar='N',
            help=f'{split} images to draw (default: %(default)s)',
        )
    parser.add_argument(
        '--seed',
        type=int,
        default=0,
        help='seed of data, start and training (default: %(default)s)',
    )
    parser.add_argument(
        '--fresh',
        action='store_true',
        help='draw the data again, although they were drawn before with the '
        'same settings (the models are always trained again)',
    )
    args = parser.parse_args()
    for name in ('epochs', 'batch_size', 'train', 'val', 'test'):
        value = getattr(args, name)
        if value is not None and value < 1:
            parser.error(f'--{name.replace("_", "-")} must be at least 1')
    if args.seed < 0:
        parser.error('--seed must not be negative')
    return args


class Quickstart:
    """The comparison, step by step.

    Args:
        args (argparse.Namespace): The command line.
        console (Console): Where to print.
    """

    def __init__(self, args: argparse.Namespace, console: Console) -> None:
        self.args = args
        self.console = console
        self.dir = args.work_dir
        self.children = Children(self.dir / 'shapes', console)
        # The configs read it.
        os.environ['SHAPES_ROOT'] = str(self.children.shapes)
        self.configs = {
            method: load_config(str(path)) for method, path in CONFIGS.items()
        }
        config = self.configs['harmoclip']
        loader = config.train_dataloader
        self.batch_size = args.batch_size or loader.batch_size
        self.epochs = args.epochs or config.train_cfg.max_epochs
        self.steps = self.epochs * (args.train // self.batch_size)
        if self.steps < 1:
            raise UsageError(
                f'{args.train} images are less than one batch of '
                f'{self.batch_size}: give more by --train, or a smaller '
                '--batch-size'
            )
        from harmoclip_mm.models.towers import clip_spec

        self.image_size = clip_spec(config.clip).img_size[0]

    def run(self) -> None:
        """Draw, train, test and report."""
        from shapes.report import draw_shapes_report, make_table

        begin = time.monotonic()
        report_file = self.dir / 'report.json'
        picture_file = self.dir / 'report.png'
        for stale in (report_file, picture_file):
            stale.unlink(missing_ok=True)
        self._say('Data: scenes of 2 to 5 objects, 8 colours x 10 shapes')
        self.draw_data()
        self._say('Start: one random initialisation for both')
        start = self.make_start()
        report: Dict[str, dict] = {}
        for method, path in CONFIGS.items():
            self._say(f'{METHOD_NAMES[method]}: {path.name}')
            report[method] = self.train_and_test(method, start)
        report['settings'] = self.settings()
        report['settings']['total_seconds'] = time.monotonic() - begin
        report_file.write_text(json.dumps(report, indent=2) + '\n')
        predictions = {
            method: mmengine.load(self.dir / method / 'predictions.pkl')
            for method in CONFIGS
        }
        draw_shapes_report(report, predictions, picture_file)
        self.console.print(make_table(report))
        clip, harmo = (report[method]['box_top1'] for method in CONFIGS)
        self.console.print(
            f'HarmoCLIP names {harmo:.1f} % of the boxes, CLIP {clip:.1f} % '
            f'({harmo - clip:+.1f} points), after the same {self.steps} '
            'steps from the same start.',
            highlight=False,
        )
        seconds = format_seconds(time.monotonic() - begin)
        print(f'Figures: {report_file}\nPicture: {picture_file}')
        print(f'Took {seconds}.')

    def _say(self, words: str) -> None:
        self.console.print(f'[bold]{words}[/bold]', highlight=False)

    def draw_data(self) -> None:
        """Draw the shapes, unless the same settings were drawn before."""
        args = self.args
        options = {
            'train': args.train,
            'val': args.val,
            'test': args.test,
            'size': self.image_size,
            'seed': args.seed,
        }
        self.children.draw(options, args.fresh)

    def make_start(self) -> Path:
        """Write the weights of the towers that both trainings start from."""
        import torch
        from mmengine.runner import set_random_seed

        from harmoclip_mm.models.checkpoints import HEADS

        config = self.configs['clip']
        init_default_scope(config.default_scope)
        set_random_seed(self.args.seed)
        model = MODELS.build(config.model)
        model.init_weights()
        weights = {
            key: value
            for key, value in model.state_dict().items()
            if not key.startswith(HEADS)
        }
        start = self.dir / 'start.pth'
        torch.save({'state_dict': weights}, start)
        return start

    def train_options(self, config: Config, start: Path) -> List[str]:
        """Settings of a training that the config leaves to this tool."""
        options = {
            'load_from': start.resolve(),
            'randomness.seed': self.args.seed,
            'train_dataloader.batch_size': self.batch_size,
            'train_cfg.max_epochs': self.epochs,
            # not within train_seconds: tools/test.py does the testing
            'train_cfg.val_begin': self.epochs + 1,
            'default_hooks.logger.interval': max(1, min(10, self.steps // 4)),
        }
        for i, scheduler in enumerate(config.param_scheduler):
            for key in ('T_max', 'end'):
                if scheduler.get('by_epoch', True) and key in scheduler:
                    options[f'param_scheduler.{i}.{key}'] = self.epochs
        return [f'{key}={value}' for key, value in options.items()]

    def train_and_test(self, method: str, start: Path) -> Dict[str, float]:
        """Train one method by tools/train.py, test it by tools/test.py."""
        from shapes.report import collect_figures

        folder = self.dir / method
        metrics, seconds = self.children.train_and_test(
            CONFIGS[method],
            folder,
            self.steps,
            self.train_options(self.configs[method], start),
            test_arguments=('--out', folder / 'predictions.pkl'),
        )
        return {**collect_figures(metrics), 'train_seconds': seconds}

    def settings(self) -> Dict[str, object]:
        """What the figures were measured with."""
        import matplotlib
        import mmcv
        import mmdet
        import mmpretrain
        import torch
        from mmengine.device import get_device

        import harmoclip_mm

        args = self.args
        modules = (harmoclip_mm, torch, mmengine, mmcv, mmdet, mmpretrain)
        versions = {m.__name__: m.__version__ for m in modules}
        return {
            'steps': self.steps,
            'epochs': self.epochs,
            'batch_size': self.batch_size,
            'image_size': self.image_size,
            'images': {
                'train': args.train,
                'val': args.val,
                'test': args.test,
            },
            'seed': args.seed,
            'device': get_device(),
            'threads': self.children.threads,
            'configs': {
                method: path.relative_to(REPOSITORY).as_posix()
                for method, path in CONFIGS.items()
            },
            'versions': {
                'python': platform.python_version(),
                **versions,
                'matplotlib': matplotlib.__version__,
            },
            'date': datetime.now(timezone.utc).isoformat(timespec='seconds'),
        }


def main() -> None:
    """Run the comparison."""
    args = parse_args()
    # The configs' INFO lines belong into the logs of the child processes.
    MMLogger.get_instance('quickstart', log_level='WARNING')
    Quickstart(args, Console()).run()


if __name__ == '__main__':
    run_command(main)
