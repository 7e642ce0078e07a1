#!/usr/bin/env python
"""Draw what ``compare.py`` found.

    python projects/shapes/plot.py --out-dir projects/shapes/images

Writes ``compare_curves.svg`` (novel boxes at each level of retrieval that
blends with the start reach), ``compare_differences.svg`` (HarmoCLIP against
each peer, start by start) and ``compare_mistakes.svg`` (what each method says
of novel boxes).
"""

import argparse
from pathlib import Path
from typing import Callable, Dict, List, Sequence

try:
    from harmoclip_mm.errors import UsageError, run_command
except ImportError as error:
    raise SystemExit(f'{error}; did you run `. .venv/bin/activate`?') from None

import matplotlib as mpl

mpl.use('Agg')
import matplotlib.pyplot as plt
import numpy as np

from shapes.children import PROJECT
from shapes.curves import LEVELS, area, best_at
from shapes.mistakes import KINDS
from shapes.paired import compare
from shapes.plan import METHOD_NAMES, PRETRAINING, RECIPES, STARTS
from shapes.results import (
    Record,
    all_boxes,
    by_seed,
    curve,
    load_results,
    novel_boxes,
    pairs_of,
    recall,
    select,
)
from shapes.tables import OURS

# Okabe and Ito's palette: told apart with any colour vision.
COLOURS = dict(
    zip(
        METHOD_NAMES,
        ('#999999', '#E69F00', '#56B4E9', '#F0E442', '#009E73', '#CC79A7',
         '#0072B2', '#D55E00'),
    )
)  # fmt: skip
STYLE = {
    # Without a date and random ids, so that equal results give equal files.
    'svg.hashsalt': 'compare',
    'svg.fonttype': 'none',
    'font.size': 9,
}


def parse_args() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument(
        '--results',
        type=Path,
        default=PROJECT / 'results/compare.jsonl',
        help='results of compare.py (default: %(default)s)',
    )
    parser.add_argument(
        '--recipe',
        choices=list(RECIPES),
        default='shapes',
        help='which of the results (default: %(default)s)',
    )
    parser.add_argument(
        '--start',
        choices=list(STARTS),
        default='clip',
        help='starts of which loss (default: %(default)s)',
    )
    parser.add_argument(
        '--out-dir',
        type=Path,
        default=Path('work_dirs/compare'),
        help='folder of the pictures (default: %(default)s)',
    )
    return parser.parse_args()


def methods_of(records: Sequence[Record]) -> Dict[str, Dict[int, Record]]:
    """Records of each method that was run, by seed."""
    found = {method: by_seed(records, method) for method in METHOD_NAMES}
    return {method: each for method, each in found.items() if each}


def draw_curves(records: Sequence[Record], path: Path) -> None:
    """Novel boxes at levels of R@1: mean and deviation over the starts."""
    figure, axes = plt.subplots(figsize=(7.0, 4.2), layout='constrained')
    farthest = 0.0
    for method, found in methods_of(records).items():
        rows, ends = [], []
        for record in found.values():
            points = curve(records, record, 'test')
            start = points[0][0]
            rows.append(best_at(points, start + LEVELS))
            ends.append((points[-1][0] - start, points[-1][1]))
        # where every start has a blend
        reached = np.isfinite(rows).all(axis=0)
        farthest = max(farthest, LEVELS[reached][-1])
        values = np.array(rows)[:, reached]
        mean, spread = (
            values.mean(axis=0),
            values.std(axis=0, ddof=len(rows) > 1),
        )
        style = dict(color=COLOURS[method], zorder=2 + (method == OURS))
        name = METHOD_NAMES[method]
        axes.plot(LEVELS[reached], mean, label=name, lw=1.6, **style)
        axes.fill_between(
            LEVELS[reached], mean - spread, mean + spread, alpha=0.15, lw=0,
            **style,
        )  # fmt: skip
        axes.plot(*np.mean(ends, axis=0), 'o', ms=5, **style)
    axes.axvline(0, color='black', lw=0.8, ls=':')
    axes.set_xlim(LEVELS[0], min(farthest + 0.5, LEVELS[-1]))
    axes.set_xlabel('least mean R@1, points from the start')
    axes.set_ylabel('Top-1 of novel boxes, percent')
    axes.set_title('What blends of trained weights and start reach')
    axes.grid(alpha=0.3)
    figure.legend(loc='outside right upper', frameon=False)
    figure.savefig(path, metadata={'Date': None})
    plt.close(figure)


def draw_differences(records: Sequence[Record], path: Path) -> None:
    """Forest plot: HarmoCLIP less each peer, by start, with intervals."""

    def of_curve(record: Record) -> float:
        return area(curve(records, record, 'test'))

    def of_point(figure: Callable[[Record], float]) -> Callable:
        return lambda record: figure(record['test']['1'])

    figures = {
        'novel boxes': of_point(novel_boxes),
        'all boxes': of_point(all_boxes),
        'mean R@1': of_point(recall),
        'area of the curve': of_curve,
    }
    methods = methods_of(records)
    ours = methods.pop(OURS)
    pairs = {
        method: both
        for method, theirs in methods.items()
        if (both := pairs_of(ours, theirs))
    }
    figure, grid = plt.subplots(
        1, len(figures), figsize=(10.2, 0.8 + 0.34 * len(pairs)),
        sharey=True, layout='constrained',
    )  # fmt: skip
    for axes, (title, value) in zip(grid, figures.items()):
        for place, (method, both) in enumerate(pairs.items()):
            found = compare(*([value(each) for each in c] for c in zip(*both)))
            axes.plot(
                found.values, [place] * len(both), '|', color='grey', ms=7
            )
            # none of few starts
            axes.plot([found.low, found.high], [place] * 2, 'k-', lw=1.6)
            axes.plot(found.mean, place, 'o', color=COLOURS[method], ms=6)
        axes.axvline(0, color='black', lw=0.8, ls=':')
        axes.set_title(f'{title}, points', fontsize=9)
        axes.grid(alpha=0.3, axis='x')
    grid[0].set_yticks(
        range(len(pairs)), [METHOD_NAMES[method] for method in pairs]
    )
    grid[0].invert_yaxis()
    figure.suptitle('HarmoCLIP less its peers from the same starts', size=10)
    figure.savefig(path, metadata={'Date': None})
    plt.close(figure)


def draw_mistakes(records: Sequence[Record], path: Path) -> None:
    """Share of each kind of answer to novel boxes, by method."""
    rows: Dict[str, List[float]] = {}
    methods = methods_of(records)
    starts = select(records, variant=PRETRAINING)
    groups = {'the start': [each['test']['0'] for each in starts]}
    for method, found in methods.items():
        name = METHOD_NAMES[method]
        groups[name] = [each['test']['1'] for each in found.values()]
    for name, points in groups.items():
        if points:
            total = np.sum([point['mistakes'] for point in points], axis=0)
            rows[name] = 100 * total / total.sum()
    figure, axes = plt.subplots(
        figsize=(6.4, 1.1 + 0.36 * len(rows)), layout='constrained'
    )
    table = np.array(list(rows.values()))
    axes.imshow(table, cmap='Blues', vmin=0, vmax=100, aspect='auto')
    for (row, column), value in np.ndenumerate(table):
        axes.text(
            column, row, f'{value:.1f}', ha='center', va='center',
            color='white' if value > 55 else 'black',
        )  # fmt: skip
    axes.set_xticks(
        range(len(KINDS)), [kind.replace(', ', ',\n') for kind in KINDS]
    )
    axes.set_yticks(range(len(rows)), list(rows))
    axes.xaxis.tick_top()
    axes.tick_params(length=0)
    figure.suptitle('Answers to novel boxes, percent', size=10)
    figure.savefig(path, metadata={'Date': None})
    plt.close(figure)


def main() -> None:
    """Draw the pictures."""
    args = parse_args()
    records = select(
        load_results(args.results), recipe=args.recipe, start=args.start
    )
    if OURS not in methods_of(records):
        raise UsageError(
            f'{args.results} holds no HarmoCLIP of recipe {args.recipe} from '
            f'starts of {args.start}: run compare.py first'
        )
    args.out_dir.mkdir(parents=True, exist_ok=True)
    pictures = {
        'compare_curves.svg': draw_curves,
        'compare_differences.svg': draw_differences,
        'compare_mistakes.svg': draw_mistakes,
    }
    with plt.rc_context(STYLE):
        for name, draw in pictures.items():
            draw(records, args.out_dir / name)
            print(f'Drawn: {args.out_dir / name}')


if __name__ == '__main__':
    run_command(main)
