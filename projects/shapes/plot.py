#!/usr/bin/env python
"""Draw what ``compare.py`` found.

    python projects/shapes/plot.py --out-dir projects/shapes/images

Writes ``compare_pareto.svg`` and ``compare_losses.svg`` from the results
file, and, where the work folder still holds the weights of seed 0,
``compare_heatmaps.png``: the similarity of a phrase to every place of an
image, before the fine-tuning and after it.
"""

import argparse
import os
import statistics
from pathlib import Path
from typing import Any, Dict, List, Optional, Sequence, Tuple

try:
    from harmoclip_mm.errors import UsageError, run_command
except ImportError as error:
    raise SystemExit(f'{error}; did you run `. .venv/bin/activate`?') from None

import matplotlib as mpl

mpl.use('Agg')
import matplotlib.pyplot as plt
import numpy as np
from mmengine.registry import init_default_scope

from harmoclip_mm.apis import load_config
from harmoclip_mm.registry import DATASETS, MODELS
from shapes.children import PROJECT
from shapes.claims import GLOBAL, LOCAL, on_front, tuned
from shapes.plan import (
    METHOD_NAMES,
    PRETRAINING,
    RECIPES,
    Recipe,
    Run,
    config_of,
    main_runs,
    pretraining,
)
from shapes.tables import choices_file, load_results, select

# Okabe and Ito's palette: told apart with any colour vision.
COLOURS = dict(
    zip(METHOD_NAMES, ('#999999', '#E69F00', '#56B4E9', '#009E73', '#D55E00'))
)
STYLE = {
    # Without a date and random ids, so that equal results give equal files.
    'svg.hashsalt': 'compare',
    'svg.fonttype': 'none',
    'font.size': 9,
    'text.parse_math': False,  # phrases may have a dollar sign
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
        default=PROJECT / 'results/compare_methods.jsonl',
        help='results of compare.py (default: %(default)s)',
    )
    parser.add_argument(
        '--recipe',
        choices=list(RECIPES),
        default='full',
        help='which of the results (default: %(default)s)',
    )
    parser.add_argument(
        '--work-dir',
        type=Path,
        default=Path('work_dirs/compare_methods'),
        help='work folder of compare.py (default: %(default)s)',
    )
    parser.add_argument(
        '--out-dir',
        type=Path,
        default=Path('work_dirs/compare_methods'),
        help='folder of the pictures (default: %(default)s)',
    )
    parser.add_argument(
        '--images',
        type=int,
        default=4,
        help='images of the heat maps (default: %(default)s)',
    )
    return parser.parse_args()


def draw_pareto(records: Sequence[Dict[str, Any]], path: Path) -> None:
    """Box Top-1 against mean R@1: small marks the seeds, large the means."""
    figure, axes = plt.subplots(figsize=(5.2, 4.0), layout='constrained')
    means: List[Tuple[float, float]] = []
    starts = select(records, variant=PRETRAINING)
    groups = [('start', 'before', 'black', starts)]
    groups += [
        (method, name, COLOURS[method], tuned(records, method))
        for method, name in METHOD_NAMES.items()
    ]
    for method, name, colour, found in groups:
        if not found:
            continue
        x = [each[GLOBAL] for each in found]
        y = [each[LOCAL] for each in found]
        mark = 'X' if method == 'start' else 'o'
        axes.scatter(x, y, s=16, color=colour, alpha=0.5, marker=mark, lw=0)
        mean = (statistics.fmean(x), statistics.fmean(y))
        axes.scatter(
            *mean, s=90, color=colour, marker=mark, label=name,
            edgecolors='white', zorder=3,
        )  # fmt: skip
        if method != 'start':
            means.append(mean)
    front = sorted(p for p, kept in zip(means, on_front(means)) if kept)
    if front:
        axes.plot(*zip(*front), color='black', lw=0.8, ls=':', zorder=1)
    axes.set_xlabel('mean retrieval R@1, percent')
    axes.set_ylabel('box Top-1, percent')
    axes.set_title('Fine-tuned equally long from the same start')
    axes.grid(alpha=0.3)
    axes.legend(frameon=False)
    figure.savefig(path, metadata={'Date': None})
    plt.close(figure)


def draw_losses(records: Sequence[Dict[str, Any]], path: Path) -> None:
    """The GC loss of every method, and HarmoCLIP's own losses, mean over the
    seeds."""
    figure, (left, right) = plt.subplots(
        1, 2, figsize=(8.0, 3.2), layout='constrained'
    )

    def draw(axes, method: str, loss: str, **style) -> None:
        curves = [
            each['curves']
            for each in tuned(records, method)
            if loss in each['curves']
        ]
        if curves:
            values = np.mean([each[loss] for each in curves], axis=0)
            axes.plot(curves[0]['step'], values, lw=1.3, **style)

    for method, name in METHOD_NAMES.items():
        draw(left, method, 'loss_gc', label=name, color=COLOURS[method])
    for loss, dashes in (('gc', '-'), ('lrc', '--'), ('gr', ':')):
        draw(
            right, 'harmoclip', f'loss_{loss}', label=loss.upper(),
            ls=dashes, color=COLOURS['harmoclip'],
        )  # fmt: skip
    left.set_title('GC loss')
    right.set_title("HarmoCLIP's losses")
    for axes in (left, right):
        axes.set_xlabel('step of the fine-tuning')
        axes.grid(alpha=0.3)
        if axes.lines:
            axes.legend(frameon=False)
    figure.savefig(path, metadata={'Date': None})
    plt.close(figure)


def load_model(run: Run, recipe: Recipe, folder: Path) -> Optional[Any]:
    """The model of a run; None where its weights are not kept."""
    from harmoclip_mm.engine.checkpoint_guard import load_checkpoint_file

    weights = folder / run.name / 'weights.pth'
    if not weights.is_file():
        return None
    config = load_config(str(run.config), dict(recipe.model))
    init_default_scope('harmoclip_mm')
    config.model.heads = None
    model = MODELS.build(config.model).eval()
    state = load_checkpoint_file(str(weights))['state_dict']
    towers = {k: v for k, v in state.items() if not k.startswith('heads.')}
    model.load_state_dict(towers)
    return model


def similarity_map(model: Any, img: Any, phrase: str) -> Any:
    """Cosine of a phrase with every place of an image.

    Args:
        model (HarmoCLIP): The model.
        img (Tensor): Normalised image, shape (1, 3, H, W).
        phrase (str): The phrase.

    Returns:
        Tensor: Cosines on the grid of the patches, shape (h, w).
    """
    import torch

    with torch.no_grad():
        dense = model.encode_dense(img)[0]
        return torch.einsum('dhw,d->hw', dense, model.encode_text([phrase])[0])


def draw_heatmaps(
    recipe: Recipe, folder: Path, count: int, path: Path
) -> bool:
    """Heat maps of the first test images with the most objects.

    Returns:
        bool: Whether there were weights to draw with.
    """
    runs = {'before': pretraining(recipe, 0)}
    for run in main_runs(recipe, 0, ['clip', 'harmoclip'], ['pretrained']):
        runs[f'after {METHOD_NAMES[run.method]}'] = run
    models = {
        name: load_model(run, recipe, folder) for name, run in runs.items()
    }
    if None in models.values():
        return False
    os.environ['SHAPES_ROOT'] = str(folder / 'shapes')
    config = load_config(str(config_of('harmoclip')))
    loader = config.train_dataloader.dataset
    loader.ann_file = 'annotations/test_odvg.jsonl'
    loader.data_prefix = dict(img='test/')
    loader.test_mode = True
    dataset = DATASETS.build(loader)
    samples = [dataset[i] for i in range(min(len(dataset), 20 * count))]
    # Stable: those with the most objects first, in the order of the file.
    samples.sort(key=lambda each: -len(each['data_samples'].phrases))
    chosen = samples[:count]
    rows = len(chosen)
    figure, grid = plt.subplots(
        rows, 1 + len(models), squeeze=False, layout='constrained',
        figsize=(1.7 * (1 + len(models)), 1.75 * rows),
    )  # fmt: skip
    for number, (axes, sample) in enumerate(zip(grid, chosen)):
        image = sample['inputs']
        phrase = sample['data_samples'].phrases[0]['phrase']
        axes[0].imshow(image.permute(1, 2, 0).numpy()[..., ::-1])
        axes[0].set_title(phrase, fontsize=7)
        for place, (name, model) in zip(axes[1:], models.items()):
            batch = model.data_preprocessor(
                dict(inputs=[image], data_samples=[sample['data_samples']])
            )
            heat = similarity_map(model, batch['inputs'], phrase)
            place.imshow(heat.numpy(), cmap='viridis')
            title = '' if number else name
            place.set_title(
                f'{title}\n{heat.min():.2f} to {heat.max():.2f}'.strip(),
                fontsize=7,
            )
    for axes in grid.flat:
        axes.set_axis_off()
    figure.savefig(path, dpi=110)
    plt.close(figure)
    return True


def main() -> None:
    """Draw the pictures."""
    args = parse_args()
    records = select(
        load_results(args.results, choices_file(args.results)),
        recipe=args.recipe,
        split='test',
    )
    if not any(tuned(records, method) for method in METHOD_NAMES):
        raise UsageError(
            f'{args.results} holds no fine-tuning of recipe {args.recipe}: '
            'run compare.py first'
        )
    args.out_dir.mkdir(parents=True, exist_ok=True)
    drawn = ['compare_pareto.svg', 'compare_losses.svg']
    with plt.rc_context(STYLE):
        draw_pareto(records, args.out_dir / drawn[0])
        draw_losses(records, args.out_dir / drawn[1])
        heat = args.out_dir / 'compare_heatmaps.png'
        folder = (args.work_dir / args.recipe).resolve()
        if draw_heatmaps(RECIPES[args.recipe], folder, args.images, heat):
            drawn.append(heat.name)
        else:
            print(
                f'No heat maps: {folder} does not hold the weights of the '
                'start, of CLIP and of HarmoCLIP for seed 0.'
            )
    for name in drawn:
        print(f'Drawn: {args.out_dir / name}')


if __name__ == '__main__':
    run_command(main)
