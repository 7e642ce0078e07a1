#!/usr/bin/env python
"""Measure the trade-off between local and global skill, method by method.

    python projects/shapes/compare.py --quick
    python projects/shapes/compare.py --ablations

A tiny CLIP is pre-trained on captions of shapes, once a seed. From this start
each method is fine-tuned for equally many steps, and trained from scratch as
well; all are evaluated by the same code, on the val images for choices and on
the test images for the figures to report. Each finished run is one line of the
results file. A tool that was stopped goes on with the run that is missing, and
two of them may run side by side.
"""

import argparse
import json
import os
import shutil
import time
from datetime import datetime, timezone
from pathlib import Path
from typing import Any, Dict, List, Optional, Sequence

try:
    from harmoclip_mm.errors import UsageError, run_command
except ImportError as error:
    raise SystemExit(f'{error}; did you run `. .venv/bin/activate`?') from None

from filelock import FileLock
from rich.console import Console

from shapes.ablations import ABLATIONS, ablation_runs
from shapes.children import PROJECT, Children, TrainingWatch, format_seconds
from shapes.claims import judge
from shapes.plan import (
    BLENDED,
    METHOD_NAMES,
    PRETRAINING,
    RECIPES,
    SPLITS,
    STARTS,
    Recipe,
    Run,
    main_runs,
    pretraining,
)
from shapes.tables import (
    ablation_table,
    check_start,
    choices_file,
    classifier_table,
    load_results,
    main_table,
    select,
    to_markdown,
)

RESULTS = PROJECT / 'results/compare_methods.jsonl'
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
        '--quick',
        action='store_true',
        help='one seed, fewer images and steps: 15 minutes on 2 cores, for a '
        'look; its figures are kept apart',
    )
    parser.add_argument(
        '--ablations',
        action='store_true',
        help='the ablations of HarmoCLIP too: those of its losses for every '
        'seed, the rest for seed 0',
    )
    parser.add_argument(
        '--methods',
        nargs='+',
        choices=list(METHOD_NAMES),
        default=list(METHOD_NAMES),
        help='methods to run (default: all)',
    )
    parser.add_argument(
        '--starts',
        nargs='+',
        choices=STARTS,
        default=list(STARTS),
        help='starts to run (default: all)',
    )
    parser.add_argument(
        '--seeds',
        nargs='+',
        type=int,
        help='seeds to run (default: 0 1 2, or 0 with --quick)',
    )
    parser.add_argument(
        '--work-dir',
        type=Path,
        default=Path('work_dirs/compare_methods'),
        help='folder of data, logs and weights (default: %(default)s)',
    )
    parser.add_argument(
        '--results',
        type=Path,
        help='JSON lines of the main table, to read and to append to; all '
        'else goes to NAME_val.jsonl beside it (default: '
        'results/compare_methods.jsonl of the project; with --quick '
        'quick.jsonl in the work folder)',
    )
    parser.add_argument(
        '--tables',
        action='store_true',
        help='run nothing, show the tables of the results so far',
    )
    parser.add_argument(
        '--markdown',
        type=Path,
        metavar='FILE.md',
        help='write the tables as Markdown too',
    )
    args = parser.parse_args()
    if args.seeds is None:
        args.seeds = [0] if args.quick else [0, 1, 2]
    if min(args.seeds) < 0:
        parser.error('--seeds must not be negative')
    return args


def append_lines(path: Path, records: Sequence[Dict[str, Any]]) -> None:
    """Append records by one write, so that no line is ever torn by another
    process that appends as well."""
    if not records:
        return
    path.parent.mkdir(parents=True, exist_ok=True)
    line = ''.join(json.dumps(each) + '\n' for each in records).encode()
    handle = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o644)
    try:
        os.write(handle, line)
        os.fsync(handle)
    finally:
        os.close(handle)


class Comparison:
    """Runs what the results lack.

    Args:
        recipe (Recipe): Lengths, data and learning rates.
        work_dir (Path): Folder of data, logs and weights.
        results (Path): The JSON lines of the main table.
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
        self.children = Children(self.dir / 'shapes', console)

    def done(self, run: Run) -> bool:
        """Whether the results hold a run, on both splits."""
        records = load_results(self.results, choices_file(self.results))
        return all(
            select(records, **each.identity(self.recipe), split=split)
            for each in run.outcomes
            for split in SPLITS
        )

    def run(self, runs: List[Run]) -> None:
        """Draw the data and run what is missing, the starts of fine-tunings
        before them.

        Args:
            runs (list[Run]): The runs.
        """
        missing = [run for run in runs if not self.done(run)]
        if not missing:
            self.console.print('Nothing is missing.')
            return
        self.dir.mkdir(parents=True, exist_ok=True)
        with FileLock(self.dir / 'shapes.lock'):
            self.children.draw(self.recipe.data)
        begin = time.monotonic()
        for count, run in enumerate(missing, 1):
            self.console.print(
                f'[bold]{count} of {len(missing)}[/bold]: {self.title(run)}, '
                f'{run.steps} steps, so far '
                f'{format_seconds(time.monotonic() - begin)}',
                highlight=False,
            )
            if run.variant.name == PRETRAINING or run.start == 'pretrained':
                self.pretrain(run.seed)
            if not self.done(run):  # by now, in another terminal
                self.execute(run)

    def title(self, run: Run) -> str:
        """What a run is, in a few words."""
        words = [METHOD_NAMES[run.method], run.start]
        if run.variant.name != 'default':
            words.append(run.variant.name)
        return ', '.join([*words, f'seed {run.seed}'])

    def weights(self, run: Run) -> Path:
        """Where the weights of a run are kept."""
        return self.dir / run.name / WEIGHTS

    def pretrain(self, seed: int) -> None:
        """Make the start of a seed, unless it is there."""
        run = pretraining(self.recipe, seed)
        # another terminal may be at it
        with FileLock(self.dir / f'{run.name}.lock'):
            if not (self.weights(run).is_file() and self.done(run)):
                self.execute(run)

    def execute(self, run: Run) -> None:
        """Train and evaluate in a process of its own; append the record."""
        folder = self.dir / run.name
        if folder.exists():
            shutil.rmtree(folder)
        folder.mkdir(parents=True)
        start: Optional[str] = None
        if run.start == 'pretrained':
            start = str(self.weights(pretraining(self.recipe, run.seed)))
        default = run.variant.name == 'default'
        spec = {
            'config': str(run.config),
            'work_dir': str(folder),
            'options': {**self.recipe.model, **run.options},
            'without': list(run.variant.without),
            'transforms': list(run.variant.transforms),
            'steps': run.steps,
            'lr': run.lr,
            'warmup': self.recipe.warmup,
            'seed': run.seed,
            'load_from': start,
            'blend': run.blend,
            'crop_context': CROP_CONTEXT,
            'modes': default and run.method == 'harmoclip',
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
        # The pictures need these; the rest would fill the disk.
        if run.variant.name == PRETRAINING or (
            default and start and run.method in ('clip', 'harmoclip')
        ):
            last.replace(folder / WEIGHTS)
        else:
            last.unlink()
        records = {
            split: [self.record(each, folder, split) for each in run.outcomes]
            for split in SPLITS
        }
        # The choices first: a run is done when it has both.
        main = records.pop('test') if default else []
        for others in records.values():
            append_lines(choices_file(self.results), others)
        append_lines(self.results, main)

    def record(self, run: Run, folder: Path, split: str) -> Dict[str, Any]:
        """The line of a finished run on a split."""
        blended = '_blended' if run.variant.name == BLENDED else ''
        path = folder / f'figures_{split}{blended}.json'
        figures = json.loads(path.read_text())
        about = json.loads((folder / 'about.json').read_text())
        curves = about.pop('curves')
        recall = (
            figures['retrieval_i2t_r1'] + figures['retrieval_t2i_r1']
        ) / 2
        local = figures['box_top1']
        total = local + recall
        return {
            **run.identity(self.recipe),
            'split': split,
            **about,
            'date': datetime.now(timezone.utc).strftime('%Y-%m-%d'),
            'batch_size': self.recipe.batch_size,
            'train_images': self.recipe.train,
            'images': getattr(self.recipe, split),
            'pretrain_steps': (
                self.recipe.pretrain_steps if run.start == 'pretrained' else 0
            ),
            **{name: round(value, 4) for name, value in figures.items()},
            'retrieval_mean_r1': round(recall, 4),
            'harmonic_mean': round(
                2 * local * recall / total if total else 0.0, 4
            ),
            # Once is enough; they fill a line.
            **({'curves': curves} if split == 'test' else {}),
        }


def plan(args: argparse.Namespace, recipe: Recipe) -> List[Run]:
    """The runs that the command line asks for, seed by seed."""
    runs: List[Run] = []
    for seed in args.seeds:
        runs.append(pretraining(recipe, seed))
        runs += main_runs(recipe, seed, args.methods, args.starts)
    if args.ablations:
        for seed in args.seeds:
            runs += ablation_runs(recipe, seed)
    return runs


def main() -> None:
    """Run what is missing, then show the tables."""
    args = parse_args()
    console = Console()
    recipe = RECIPES['quick' if args.quick else 'full']
    results = args.results or (
        args.work_dir / 'quick.jsonl' if args.quick else RESULTS
    )
    if not args.tables:
        comparison = Comparison(recipe, args.work_dir, results, console)
        comparison.run(plan(args, recipe))
    records = select(
        load_results(results, choices_file(results)), recipe=recipe.name
    )
    if not records:
        raise UsageError(f'{results} holds no run of recipe {recipe.name}')
    tests, vals = (select(records, split=split) for split in ('test', 'val'))
    tables = [main_table(tests)]
    tables += filter(
        None,
        (
            *(
                ablation_table(vals, title, variants)
                for title, variants in ABLATIONS.items()
            ),
            classifier_table(vals),
        ),
    )
    for table in tables:
        console.print(table.rich(console.width))
    for sentence in [check_start(tests), *judge(tests)]:
        console.print(sentence, highlight=False)
    if args.markdown:
        args.markdown.write_text(to_markdown(tables))
        console.print(f'Tables: {args.markdown}', highlight=False)
    console.print(f'Results: {results}', highlight=False)


if __name__ == '__main__':
    run_command(main)
