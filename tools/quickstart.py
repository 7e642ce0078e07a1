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
import sys
import time
from datetime import datetime, timezone
from pathlib import Path
from typing import Dict, List

import matplotlib
import mmcv
import mmdet
import mmengine
import mmpretrain
import torch
from mmengine.config import Config
from mmengine.device import get_device
from mmengine.logging import MMLogger
from rich.console import Console

import harmoclip_mm
from harmoclip_mm.apis import UsageError, load_config, run_command
from harmoclip_mm.apis.child_process import (
    TrainingWatch,
    format_seconds,
    run_child,
)
from harmoclip_mm.apis.shapes_data import child_environment, draw_shapes
from harmoclip_mm.models.towers import clip_spec

REPOSITORY = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(REPOSITORY / 'projects/shapes'))

from shapes_report import (  # noqa: E402
    METHOD_NAMES,
    collect_figures,
    draw_shapes_report,
    make_table,
)

TOOLS = REPOSITORY / 'tools'
CONFIGS = {
    'clip': 'configs/baselines/clip_tiny_shapes.py',
    'harmoclip': 'configs/harmoclip_tiny_shapes.py',
}


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
        self.shapes = (self.dir / 'shapes').resolve()
        # The configs read it, here and in the child processes.
        os.environ['SHAPES_ROOT'] = str(self.shapes)
        self.env = child_environment(REPOSITORY)
        self.configs = {
            method: load_config(str(REPOSITORY / path))
            for method, path in CONFIGS.items()
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
        self.image_size = clip_spec(config.clip).img_size[0]

    def run(self) -> None:
        """Draw, train, test and report."""
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
            name = METHOD_NAMES[method]
            self._say(f'{name}: {path}, {self.steps} steps')
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

    def _tool(self, name: str, *arguments, **kwargs) -> float:
        command = [sys.executable, TOOLS / name, *arguments]
        return run_child(command, env=self.env, console=self.console, **kwargs)

    def draw_data(self) -> None:
        """Draw the shapes, unless the same settings were drawn before."""
        args = self.args
        draw_shapes(
            TOOLS / 'dataset_converters/shapes.py',
            self.shapes,
            {
                'train': args.train,
                'val': args.val,
                'test': args.test,
                'size': self.image_size,
                'seed': args.seed,
            },
            log=self.dir / 'shapes.log',
            env=self.env,
            console=self.console,
            fresh=args.fresh,
        )

    def make_start(self) -> Path:
        """Write the weights of the towers that both trainings start from."""
        start = self.dir / 'start.pth'
        self._tool(
            'model_converters/common_start.py',
            *(REPOSITORY / path for path in CONFIGS.values()),
            *('--out', start, '--seed', self.args.seed),
            log=self.dir / 'start.log',
            label='initialising',
        )
        return start

    def train_options(self, config: Config, start: Path) -> List[str]:
        """Settings of a training that the config leaves to this tool."""
        options = {
            'load_from': start.resolve(),
            'randomness.seed': self.args.seed,
            'train_dataloader.batch_size': self.batch_size,
            'train_cfg.max_epochs': self.epochs,
            # tools/test.py does the testing: train_seconds is training
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
        name = METHOD_NAMES[method]
        config = REPOSITORY / CONFIGS[method]
        folder = self.dir / method
        folder.mkdir(parents=True, exist_ok=True)
        latest = folder / 'last_checkpoint'
        metrics = folder / 'metrics.json'
        for stale in (latest, metrics, folder / 'predictions.pkl'):
            stale.unlink(missing_ok=True)
        seconds = self._tool(
            'train.py',
            config,
            '--work-dir',
            folder,
            '--cfg-options',
            *self.train_options(self.configs[method], start),
            log=self.dir / f'{method}_train.log',
            label=f'training {name}',
            total=self.steps,
            watch=TrainingWatch(folder),
        )
        self._tool(
            'test.py',
            config,
            latest.read_text().strip(),
            *('--work-dir', folder, '--metrics-out', metrics),
            *('--out', folder / 'predictions.pkl'),
            log=self.dir / f'{method}_test.log',
            label=f'testing {name}',
        )
        try:
            figures = collect_figures(json.loads(metrics.read_text()))
        except KeyError as error:
            raise UsageError(
                f'the test of {name} gave no {error.args[0]}; see '
                f'{self.dir / f"{method}_test.log"}'
            ) from None
        return {**figures, 'train_seconds': seconds}

    def settings(self) -> Dict[str, object]:
        """What the figures were measured with."""
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
            'threads': int(self.env['OMP_NUM_THREADS'].split(',')[0]),
            'configs': CONFIGS,
            'versions': {
                'python': platform.python_version(),
                **versions,
                'matplotlib': matplotlib.__version__,
            },
            'date': datetime.now(timezone.utc).isoformat(timespec='seconds'),
        }


def main() -> None:
    """Run the comparison."""
    # The configs' INFO lines belong into the logs of the child processes.
    MMLogger.get_instance('quickstart', log_level='WARNING')
    Quickstart(parse_args(), Console()).run()


if __name__ == '__main__':
    run_command(main)
