#!/usr/bin/env python
"""Measure the trade-off between local and global skill, method by method.

    python projects/shapes/compare.py --recipe quick
    python projects/shapes/compare.py --seeds 0 1 2 3 --ablations

A tiny CLIP is pre-trained on captions of drawn scenes, once a seed. From this
start each method is fine-tuned for equally many steps; its weights are
blended with those of the start, and averaged over the steps, and all are
evaluated by the same code: on the val images for choices, on the test images
for the figures to report. Each finished run is one line of the results file. A
tool that was stopped goes on with the run that is missing, and two of them may
run side by side.
"""

import argparse
import json
import shutil
import time
from datetime import datetime, timezone
from pathlib import Path
from typing import Any, Dict, List, Sequence

try:
    from harmoclip_mm.errors import UsageError, run_command
except ImportError as error:
    raise SystemExit(f'{error}; did you run `. .venv/bin/activate`?') from None

from filelock import FileLock
from rich.console import Console

from shapes.ablations import ablation_runs
from shapes.children import PROJECT, Children, TrainingWatch, format_seconds
from shapes.plan import (
    DEFAULT,
    METHOD_NAMES,
    RECIPES,
    STARTS,
    Recipe,
    Run,
    main_runs,
    pretraining,
)
from shapes.results import append_record, load_results, select
from shapes.tables import all_tables, check_start

WEIGHTS = 'weights.pth'
# Boxes grow by this factor before they are cropped: a shape alone in its
# crop then fills it as much as a large one fills a scene.
CROP_CONTEXT = 1.75


def parse_args() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument(
        '--recipe',
        choices=list(RECIPES),
        default='shapes',
        help='what is drawn and how long is trained; quick is a look at '
        'shapes, with few images and steps (default: %(default)s)',
    )
    parser.add_argument(
        '--start',
        choices=list(STARTS),
        default='clip',
        help='what the starts are trained with: siglip is the sigmoid loss, '
        'which all methods then have (default: %(default)s)',
    )
    parser.add_argument(
        '--methods',
        nargs='+',
        choices=list(METHOD_NAMES),
        default=list(METHOD_NAMES),
        help='methods to run (default: all)',
    )
    parser.add_argument(
        '--ablations',
        action='store_true',
        help='the variants of HarmoCLIP too',
    )
    parser.add_argument(
        '--seeds',
        nargs='+',
        type=int,
        help='seeds to run (default: 0 to 7, or 0 of the quick recipe)',
    )
    parser.add_argument(
        '--work-dir',
        type=Path,
        default=Path('work_dirs/compare'),
        help='folder of data, logs and weights (default: %(default)s)',
    )
    parser.add_argument(
        '--results',
        type=Path,
        default=Path('work_dirs/compare/results.jsonl'),
        help='JSON lines to read and to append to (default: %(default)s)',
    )
    parser.add_argument(
        '--tables',
        action='store_true',
        help='run nothing, show the tables of the results so far; those that '
        f'the documentation shows are in {PROJECT.name}/results',
    )
    parser.add_argument(
        '--markdown',
        type=Path,
        metavar='FILE.md',
        help='write the tables as Markdown too',
    )
    args = parser.parse_args()
    if args.seeds is None:
        args.seeds = [0] if args.recipe == 'quick' else list(range(8))
    if min(args.seeds) < 0:
        parser.error('--seeds must not be negative')
    return args


class Comparison:
    """Runs what the results lack.

    Args:
        recipe (Recipe): Lengths, data and learning rates.
        work_dir (Path): Folder of data, logs and weights.
        results (Path): The JSON lines.
        console (Console): Where to print.
    """

    def __init__(
        self,
        recipe: Recipe,
        work_dir: Path,
        results: Path,
        console: Console,
    ) -> None:
        self.recipe = recipe
        self.dir = (work_dir / recipe.name).resolve()
        self.results = results
        self.console = console
        self.children = Children(self.dir / 'data', console)

    def done(self, run: Run) -> bool:
        """Whether the results hold a run."""
        return bool(select(load_results(self.results), **run.identity))

    def run(self, runs: Sequence[Run]) -> None:
        """Draw the data and run what is missing.

        Args:
            runs (list[Run]): The runs, a start before its fine-tunings.
        """
        missing = [run for run in runs if not self.done(run)]
        if not missing:
            self.console.print('Nothing is missing.')
            return
        self.dir.mkdir(parents=True, exist_ok=True)
        with FileLock(self.dir / 'data.lock'):
            self.children.draw(self.recipe.data)
        begin = time.monotonic()
        for count, run in enumerate(missing, 1):
            self.console.print(
                f'[bold]{count} of {len(missing)}[/bold]: {self.title(run)}, '
                f'{run.steps} steps, so far '
                f'{format_seconds(time.monotonic() - begin)}',
                highlight=False,
            )
            self.pretrain(pretraining(run.recipe, run.start, run.seed))
            if not self.done(run):  # by now, in another terminal
                self.execute(run)

    def title(self, run: Run) -> str:
        """What a run is, in a few words."""
        words = [METHOD_NAMES[run.method]]
        if run.variant.name != DEFAULT:
            words.append(run.variant.name)
        if run.start != 'clip':
            words.append(f'from {run.start}')
        return ', '.join([*words, f'seed {run.seed}'])

    def weights(self, run: Run) -> Path:
        """Where the weights of a run are kept."""
        return self.dir / run.name / WEIGHTS

    def pretrain(self, start: Run) -> None:
        """Make a start, unless it is there."""
        self.dir.joinpath(start.name).mkdir(parents=True, exist_ok=True)
        # another terminal may be at it
        with FileLock(self.dir / f'{start.name}.lock'):
            if not (self.weights(start).is_file() and self.done(start)):
                self.execute(start)

    def execute(self, run: Run) -> None:
        """Train and evaluate in a process of its own; append the record."""
        folder = self.dir / run.name
        if folder.exists():
            shutil.rmtree(folder)
        folder.mkdir(parents=True)
        start = pretraining(run.recipe, run.start, run.seed)
        spec = {
            'config': str(run.config),
            'work_dir': str(folder),
            'options': run.options,
            'without': list(run.variant.without),
            'transforms': list(run.variant.transforms),
            'steps': run.steps,
            'lr': run.lr,
            'warmup': self.recipe.warmup,
            'seed': run.seed,
            'load_from': None if run.is_start else str(self.weights(start)),
            'ema_momentum': self.recipe.ema_momentum,
            'crop_context': CROP_CONTEXT,
        }
        (folder / 'run.json').write_text(json.dumps(spec, indent=2) + '\n')
        self.children.run(
            *('-m', 'shapes.run', folder / 'run.json'),
            log=folder / 'log.txt',
            label=self.title(run),
            total=run.steps,
            watch=TrainingWatch(folder),
        )
        last = Path((folder / 'last_checkpoint').read_text().strip())
        if run.is_start:
            last.replace(folder / WEIGHTS)
        else:  # they would fill the disk
            last.unlink()
        if not self.done(run):  # a start whose weights were lost
            append_record(self.results, self.record(run, folder))

    def record(self, run: Run, folder: Path) -> Dict[str, Any]:
        """The line of a finished run."""
        return {
            **run.identity,
            'date': datetime.now(timezone.utc).strftime('%Y-%m-%d'),
            'batch_size': self.recipe.batch_size,
            'train_images': self.recipe.train,
            'test_images': self.recipe.test,
            **json.loads((folder / 'figures.json').read_text()),
        }


def plan(args: argparse.Namespace) -> List[Run]:
    """The runs that the command line asks for, seed by seed."""
    recipe = RECIPES[args.recipe]
    runs: List[Run] = []
    for seed in args.seeds:
        runs += main_runs(recipe, args.start, seed, args.methods)
        if args.ablations:
            runs += ablation_runs(recipe, args.start, seed)
    return runs


def main() -> None:
    """Run what is missing, then show the tables."""
    args = parse_args()
    console = Console()
    if not args.tables:
        comparison = Comparison(
            RECIPES[args.recipe], args.work_dir, args.results, console
        )
        comparison.run(plan(args))
    records = select(
        load_results(args.results), recipe=args.recipe, start=args.start
    )
    if not records:
        raise UsageError(
            f'{args.results} holds no run of the recipe {args.recipe} from '
            f'starts of {args.start}'
        )
    tables = all_tables(records)
    for table in tables:
        console.print(table.rich())
    console.print(check_start(records), highlight=False)
    if args.markdown:
        args.markdown.write_text(
            '\n'.join(table.markdown() for table in tables)
        )
        console.print(f'Tables: {args.markdown}', highlight=False)
    console.print(f'Results: {args.results}', highlight=False)


if __name__ == '__main__':
    run_command(main)
