#!/usr/bin/env python
"""Open-vocabulary detection on shapes: HarmoCLIP's backbone against CLIP's.

A detector is trained on each of the two frozen backbones of quickstart.py, on
the 68 base combinations of colour and shape, and tested on all 80. What was
finished with the same settings is not done again; a killed training goes on
from its last checkpoint.
"""

import argparse
import hashlib
import json
import os
import time
from datetime import datetime, timezone
from pathlib import Path
from typing import Any, Dict, List

try:
    from harmoclip_mm.errors import UsageError, run_command
except ImportError as error:
    raise SystemExit(f'{error}; did you run `. .venv/bin/activate`?') from None

from mmengine.logging import MMLogger
from rich.console import Console
from rich.table import Table

from harmoclip_mm.apis import load_config
from shapes.children import PROJECT, Children, format_seconds
from shapes.plan import QUICKSTART_NAMES as METHOD_NAMES
from shapes.plan import config_of

CONFIG = config_of('fvit')
FIGURES = {
    'base_ap50': 'ov_coco/base_ap50',
    'novel_ap50': 'ov_coco/novel_ap50',
    'all_ap50': 'ov_coco/bbox_mAP_50',
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
        default=Path('work_dirs/detect_shapes'),
        help='folder of detectors and logs (default: %(default)s)',
    )
    parser.add_argument(
        '--quickstart',
        type=Path,
        default=Path('work_dirs/quickstart'),
        help='folder of data and backbones; quickstart.py fills it if there '
        'is no finished run in it (default: %(default)s)',
    )
    parser.add_argument(
        '--backbones',
        type=Path,
        nargs=2,
        metavar=('CLIP', 'HARMOCLIP'),
        help='checkpoints to take instead of those of the quickstart, whose '
        'data are needed all the same',
    )
    parser.add_argument(
        '--out',
        type=Path,
        default=Path('work_dirs/detect_shapes/figures.json'),
        help='file for the figures (default: %(default)s)',
    )
    parser.add_argument(
        '--iters', type=int, help='steps of training (default: the config)'
    )
    parser.add_argument(
        '--seed',
        type=int,
        default=0,
        help='seed of the detectors, and of the backbones if they are still '
        'to be trained (default: %(default)s)',
    )
    parser.add_argument(
        '--cfg-options',
        nargs='+',
        default=[],
        metavar='KEY=VALUE',
        help='settings of the detector, for training and test',
    )
    parser.add_argument(
        '--quickstart-options',
        nargs=argparse.REMAINDER,
        default=[],
        help='everything behind it goes to quickstart.py',
    )
    args = parser.parse_args()
    if args.iters is not None and args.iters < 1:
        parser.error('--iters must be at least 1')
    if args.seed < 0:
        parser.error('--seed must not be negative')
    return args


class DetectShapes:
    """The comparison, step by step.

    Args:
        args (argparse.Namespace): The command line.
        console (Console): Where to print.
    """

    def __init__(self, args: argparse.Namespace, console: Console) -> None:
        self.args = args
        self.console = console
        self.children = Children(args.quickstart / 'shapes', console)
        self.steps = args.iters or load_config(str(CONFIG)).max_iters

    def run(self) -> None:
        """Backbones, detectors, figures."""
        begin = time.monotonic()
        backbones = self.find_backbones()
        figures = {
            method: self.train_and_test(method, backbones[method])
            for method in METHOD_NAMES
        }
        self.print_table(figures)
        report = {
            **figures,
            'steps': self.steps,
            'seed': self.args.seed,
            'cfg_options': self.args.cfg_options,
            'backbones': {
                method: backbones[method].name for method in METHOD_NAMES
            },
            'threads': self.children.threads,
            'date': datetime.now(timezone.utc).date().isoformat(),
        }
        self.args.out.parent.mkdir(parents=True, exist_ok=True)
        self.args.out.write_text(json.dumps(report, indent=2) + '\n')
        print(
            f'Figures: {self.args.out}\n'
            f'Took {format_seconds(time.monotonic() - begin)}.'
        )

    def find_backbones(self) -> Dict[str, Path]:
        """The CLIPs of a finished quickstart, which is run if need be.

        Returns:
            dict[str, Path]: Checkpoint of each method.

        Raises:
            UsageError: If the quickstart fails, or a checkpoint is missing.
        """
        if self.args.backbones:
            for path in self.args.backbones:
                if not path.is_file():
                    raise UsageError(f'checkpoint {path} does not exist')
            return dict(zip(METHOD_NAMES, self.args.backbones))
        folder = self.args.quickstart
        if not (folder / 'report.json').is_file():
            self.console.print('[bold]Backbones: quickstart.py[/bold]')
            self.children.run(
                *(PROJECT / 'quickstart.py', '--work-dir', folder),
                *('--seed', self.args.seed, *self.args.quickstart_options),
                log=self.args.work_dir / 'quickstart.log',
                label='training CLIP and HarmoCLIP',
            )
        found = {}
        for method in METHOD_NAMES:
            latest = folder / method / 'last_checkpoint'
            path = Path(latest.read_text().strip()) if latest.is_file() else ''
            if not path or not path.is_file():
                raise UsageError(
                    f'{folder} holds no checkpoint of {method}: remove '
                    f'{folder / "report.json"} to train it again'
                )
            found[method] = path
        return found

    def train_and_test(self, method: str, backbone: Path) -> Dict[str, float]:
        """A detector on one backbone.

        Args:
            method (str): Name of the method of the backbone.
            backbone (Path): Its checkpoint.

        Returns:
            dict[str, float]: Its figures in [0, 1], and ``train_seconds``.
        """
        folder = self.args.work_dir / method
        folder.mkdir(parents=True, exist_ok=True)
        stamp = folder / 'settings.json'
        settings = self.settings(backbone)
        old = json.loads(stamp.read_text()) if stamp.is_file() else {}
        self.console.print(f'[bold]Detector on {METHOD_NAMES[method]}[/bold]')
        resume = old.get('settings') == settings
        if resume and 'figures' in old:
            self.console.print('  done before', highlight=False)
            return old['figures']
        stamp.write_text(json.dumps({'settings': settings}))
        options = self.args.cfg_options
        self.children.env['CLIP_CHECKPOINT'] = str(backbone.resolve())
        found, seconds = self.children.train_and_test(
            CONFIG,
            folder,
            self.steps,
            [
                *options,
                f'train_cfg.max_iters={self.steps}',
                f'param_scheduler.1.T_max={self.steps}',
                # tools/test.py does the testing
                f'train_cfg.val_begin={self.steps + 1}',
                f'randomness.seed={self.args.seed}',
            ],
            test_arguments=['--cfg-options', *options] if options else [],
            resume=resume,
        )
        figures = {key: found[full] for key, full in FIGURES.items()}
        figures['train_seconds'] = round(seconds, 1)
        stamp.write_text(
            json.dumps({'settings': settings, 'figures': figures}, indent=2)
        )
        return figures

    def settings(self, backbone: Path) -> Dict[str, Any]:
        """What decides the figures of a detector."""
        os.environ['SHAPES_ROOT'] = str(self.children.shapes)
        # the content of the backbone counts, not its path
        os.environ['CLIP_CHECKPOINT'] = 'backbone'
        config = load_config(str(CONFIG))
        parts: List[bytes] = [
            backbone.read_bytes(),
            json.dumps(config.to_dict(), sort_keys=True, default=str).encode(),
        ]
        return {
            'digest': hashlib.sha256(b''.join(parts)).hexdigest(),
            'steps': self.steps,
            'seed': self.args.seed,
            'cfg_options': self.args.cfg_options,
        }

    def print_table(self, figures: Dict[str, Dict[str, float]]) -> None:
        """Print the figures in percent."""
        table = Table(title='AP50 of detection on shapes, %')
        for column in ('frozen backbone', 'base', 'novel', 'all'):
            table.add_column(
                column, justify='left' if ' ' in column else 'right'
            )
        for method in METHOD_NAMES:
            table.add_row(
                METHOD_NAMES[method],
                *(f'{100 * figures[method][key]:.1f}' for key in FIGURES),
            )
        self.console.print(table)


def main() -> None:
    """Run the comparison."""
    args = parse_args()
    MMLogger.get_instance('detect_shapes', log_level='WARNING')
    DetectShapes(args, Console()).run()


if __name__ == '__main__':
    run_command(main)
