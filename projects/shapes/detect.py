#!/usr/bin/env python
"""Open-vocabulary detection on shapes: HarmoCLIP's backbone against CLIP's.

For each seed, a detector is trained on each of the two frozen backbones of
quickstart.py, on the 68 base combinations of colour and shape, and tested on
all 80. What was finished with the same settings is not done again; a killed
training goes on from its last checkpoint.
"""

import argparse
import hashlib
import json
import os
import time
from datetime import datetime, timezone
from pathlib import Path
from typing import Any, Dict, List, Sequence

try:
    from harmoclip_mm.errors import UsageError, run_command
except ImportError as error:
    raise SystemExit(f'{error}; did you run `. .venv/bin/activate`?') from None

from mmengine.logging import MMLogger
from rich.console import Console

from harmoclip_mm.apis import load_config
from shapes.children import PROJECT, Children, format_seconds
from shapes.plan import QUICKSTART_NAMES as METHOD_NAMES
from shapes.plan import config_of
from shapes.tables import TextTable, mean_and_deviation

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
        help='folder of data and backbones of seed 0, of other seeds with '
        '_seedN at its end; quickstart.py fills it if there is no finished '
        'run in it (default: %(default)s)',
    )
    parser.add_argument(
        '--backbones',
        type=Path,
        nargs=2,
        metavar=('CLIP', 'HARMOCLIP'),
        help='checkpoints to take instead of those of the quickstart, whose '
        'data are needed all the same; for one seed',
    )
    parser.add_argument(
        '--out',
        type=Path,
        default=Path('work_dirs/detect_shapes/figures.jsonl'),
        help='file for the figures, a line a seed (default: %(default)s)',
    )
    parser.add_argument(
        '--iters', type=int, help='steps of training (default: the config)'
    )
    parser.add_argument(
        '--seeds',
        type=int,
        nargs='+',
        default=[0],
        metavar='N',
        help='seeds of data, backbones and detectors (default: 0)',
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
    if min(args.seeds) < 0:
        parser.error('--seeds must not be negative')
    if args.backbones and len(args.seeds) > 1:
        parser.error('--backbones are those of one seed')
    return args


def ap50_table(reports: Sequence[Dict[str, Any]]) -> TextTable:
    """The detectors on both backbones.

    Args:
        reports (Sequence[dict]): One a seed.

    Returns:
        TextTable: Mean and standard deviation over the seeds, in percent, and
        the quotient of the means.
    """
    rows = []
    for method, name in METHOD_NAMES.items():
        found = [each[method] for each in reports]
        cells = [
            mean_and_deviation([100 * each[key] for each in found])
            for key in FIGURES
        ]
        base, novel = (
            sum(each[key] for each in found)
            for key in ('base_ap50', 'novel_ap50')
        )
        share = f'{novel / base:.2f}' if base > 0 else '-'
        rows.append([name, *cells, share])
    seeds = ', '.join(str(each['seed']) for each in reports)
    return TextTable(
        f'AP50 of detection on shapes, percent (seed {seeds})',
        ['frozen backbone', 'base', 'novel', 'all', 'novel / base'],
        rows,
    )


class DetectShapes:
    """The comparison of one seed, step by step.

    Args:
        args (argparse.Namespace): The command line.
        seed (int): Seed of data, backbones and detectors.
        console (Console): Where to print.
    """

    def __init__(
        self, args: argparse.Namespace, seed: int, console: Console
    ) -> None:
        self.args = args
        self.seed = seed
        self.console = console
        end = f'_seed{seed}' if seed else ''
        self.quickstart = args.quickstart.with_name(args.quickstart.name + end)
        self.folder = args.work_dir / f'seed{seed}'
        self.children = Children(self.quickstart / 'shapes', console)
        self.steps = args.iters or load_config(str(CONFIG)).max_iters

    def run(self) -> Dict[str, Any]:
        """Backbones and detectors.

        Returns:
            dict: The figures of both, and what they were measured with.
        """
        backbones = self.find_backbones()
        figures = {
            method: self.train_and_test(method, backbones[method])
            for method in METHOD_NAMES
        }
        return {
            **figures,
            'steps': self.steps,
            'seed': self.seed,
            'cfg_options': self.args.cfg_options,
            'backbones': {
                method: backbones[method].name for method in METHOD_NAMES
            },
            'threads': self.children.threads,
            'date': datetime.now(timezone.utc).date().isoformat(),
        }

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
        folder = self.quickstart
        if not (folder / 'report.json').is_file():
            self.console.print('[bold]Backbones: quickstart.py[/bold]')
            self.children.run(
                *(PROJECT / 'quickstart.py', '--work-dir', folder),
                *('--seed', self.seed, *self.args.quickstart_options),
                log=self.folder / 'quickstart.log',
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
        folder = self.folder / method
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
                f'randomness.seed={self.seed}',
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
            'seed': self.seed,
            'cfg_options': self.args.cfg_options,
        }


def main() -> None:
    """Run the comparison of every seed."""
    args = parse_args()
    MMLogger.get_instance('detect_shapes', log_level='WARNING')
    begin, console = time.monotonic(), Console()
    reports = [DetectShapes(args, seed, console).run() for seed in args.seeds]
    console.print(ap50_table(reports).rich())
    args.out.parent.mkdir(parents=True, exist_ok=True)
    lines = (json.dumps(report) + '\n' for report in reports)
    args.out.write_text(''.join(lines))
    print(
        f'Figures: {args.out}\n'
        f'Took {format_seconds(time.monotonic() - begin)}.'
    )


if __name__ == '__main__':
    run_command(main)
