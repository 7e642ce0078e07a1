"""Time a training step, its parts and its peers, side by side.

    python tools/analysis_tools/benchmark_training.py --out training.json

A step is the forward, the loss and the backward of one batch; AdamW's update,
which is the same for everybody, is timed apart. All cases take turns, round
after round, and a ratio is the median of the rounds' ratios: what disturbs
the machine disturbs both sides. The model's floating point operations are
counted by torch and held against matrix products timed in the same round.
Weights are random and images noise, neither of which changes the time.
"""

import argparse
import json
import logging
import platform
import statistics
import tempfile
from datetime import date
from pathlib import Path
from typing import Dict, List, Tuple

import torch
from loader_case import time_loader
from mmengine.config import Config
from mmengine.device import get_device
from mmengine.registry import init_default_scope
from rich.console import Console
from rich.progress import Progress
from rich.table import Table
from training_cases import (
    Case,
    Models,
    OpenCLIP,
    Step,
    make_batch,
    make_product,
)

from harmoclip_mm.apis import UsageError, load_config, run_command

DTYPES = dict(fp32=torch.float32, bf16=torch.bfloat16, fp16=torch.float16)
CONFIG = (
    Path(__file__).resolve().parents[2] / 'configs/harmoclip_vitb16_coco.py'
)


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description='Time training steps; 15 minutes on 2 cores by default.'
    )
    parser.add_argument(
        '--config',
        default=str(CONFIG),
        help='config whose towers and heads are timed (default: ViT-B/16)',
    )
    parser.add_argument(
        '--open-clip',
        default='ViT-B-16-quickgelu',
        help='model of open_clip to compare with, of the same architecture; '
        '"none" leaves it out (default: %(default)s)',
    )
    parser.add_argument(
        '--device', help='cpu or cuda (default: what is there)'
    )
    parser.add_argument(
        '--precision',
        choices=sorted(DTYPES),
        default='fp32',
        help='fp32, or what autocast computes in (default: %(default)s)',
    )
    parser.add_argument(
        '--batch-size', type=int, default=16, help='images (default: 16)'
    )
    parser.add_argument(
        '--regions',
        type=int,
        nargs='+',
        default=[0, 1, 10, 100],
        help='regions an image to time HarmoCLIP with (default: %(default)s)',
    )
    parser.add_argument(
        '--crop-batch-size',
        type=int,
        default=2,
        help='images in the cases that encode crops, which cost a forward '
        'each; 0 leaves them out (default: %(default)s)',
    )
    parser.add_argument(
        '--crop-regions',
        type=int,
        default=10,
        help='regions an image in the cases with crops (default: 10)',
    )
    parser.add_argument(
        '--rounds',
        type=int,
        default=3,
        help='times that each case is timed, after one that warms up '
        '(default: %(default)s)',
    )
    parser.add_argument(
        '--compile',
        action='store_true',
        help="torch.compile the blocks of our towers (open_clip's stay)",
    )
    parser.add_argument(
        '--loader-images',
        type=int,
        default=256,
        help='images drawn from the data loader; 0 leaves it out '
        '(default: %(default)s)',
    )
    parser.add_argument(
        '--loader-workers',
        type=int,
        default=2,
        help='workers of the data loader (default: %(default)s)',
    )
    parser.add_argument('--out', help='JSON file for all figures')
    return parser.parse_args()


def build_cases(
    args: argparse.Namespace, cfg: Config, device: str
) -> Tuple[Dict[str, Case], List[Case]]:
    """The steps to time, by name, and the products to hold them against."""
    dtype = DTYPES[args.precision]
    models = Models(cfg, torch.device(device), args.compile)
    size = models.cfg['backbone'].get('img_size', 224)
    size = (size, size)
    collate_fn = cfg.train_dataloader.get('collate_fn')
    cases: Dict[str, Case] = {}

    def add(name, model, batch_size, regions):
        batch = make_batch(
            models.towers, batch_size, regions, size, collate_fn
        )
        cases[name] = Case(name, Step(model, batch, dtype), batch_size)

    whole = args.batch_size
    if args.open_clip != 'none':
        rival = OpenCLIP(args.open_clip, torch.device(device))
        add('open_clip', rival, whole, 1)
    add('gc', models.clip(), whole, 1)
    ours = models.harmoclip()
    for regions in args.regions:
        add(f'harmoclip_{regions}', ours, whole, regions)
    few = args.crop_batch_size
    if few:
        regions = args.crop_regions
        add('few_gc', models.clip(), few, 1)
        for mode in ('text', 'crop', 'both'):
            add(f'few_{mode}', models.harmoclip(mode), few, regions)
    cases['adamw'] = _optimizer_case(models, cases['gc'])

    # The products of the MLPs, whose share is largest, and a square one.
    backbone = models.towers.backbone
    dims = backbone.embed_dims
    tokens = whole * (1 + (size[0] // backbone.patch_size) ** 2)
    shapes = [(tokens, dims, 4 * dims), (tokens, 4 * dims, dims)]
    shapes += [(4 * dims, tokens, dims), (2048, 2048, 2048)]
    products = [
        Case(str(shape), run, flop=flop)
        for shape in shapes
        for run, flop in [make_product(*shape, dtype, device)]
    ]
    return cases, products


def _optimizer_case(models: Models, gradients: Case) -> Case:
    optimizer = torch.optim.AdamW(models.towers.parameters(), lr=0.0)

    def run() -> None:
        # Gradients are those of the case before: they only have to exist.
        for parameter in models.towers.parameters():
            if parameter.grad is None:
                parameter.grad = torch.zeros_like(parameter)
        optimizer.step()

    return Case('adamw', run, flop=0)


def time_cases(
    cases: Dict[str, Case], products: List[Case], rounds: int
) -> None:
    """Let all cases take turns."""
    everything = [*cases.values(), *products]
    with Progress(console=Console(stderr=True)) as progress:
        task = progress.add_task('', total=len(everything) * (rounds + 1))
        for number in range(rounds + 1):
            for case in everything:
                name = f'{case.name}, round {number} of {rounds}'
                progress.update(task, description=name)
                if number == 0:
                    case.warm_up()
                else:
                    case.time()
                progress.advance(task)


# What is divided by what, where both were timed.
RATIOS = dict(
    gc_over_open_clip=('gc', 'open_clip'),
    regions_100_over_1=('harmoclip_100', 'harmoclip_1'),
    harmoclip_over_gc=('harmoclip_10', 'gc'),
)
CROP_RATIOS = dict(
    few_text_over_gc=('few_text', 'few_gc'),
    crop_over_text=('few_crop', 'few_text'),
    both_over_text=('few_both', 'few_text'),
)


def find_ratios(
    cases: Dict[str, Case], pairs: Dict[str, Tuple[str, str]]
) -> Dict[str, float]:
    """The ratios of those pairs of which both cases were timed."""
    return {
        name: cases[above].over(cases[below])
        for name, (above, below) in pairs.items()
        if above in cases and below in cases
    }


def find_utilisation(
    cases: Dict[str, Case], products: List[Case]
) -> List[float]:
    """Sets each case's share of the peak of its round.

    Returns:
        List[float]: That peak in operations a second, round by round.
    """
    speeds = [
        [product.flop / seconds for seconds in product.seconds]
        for product in products
    ]
    peaks = [max(each) for each in zip(*speeds)]
    for case in cases.values():
        case.utilisation = statistics.median(
            case.flop / seconds / peak
            for seconds, peak in zip(case.seconds, peaks)
        )
    return peaks


def print_tables(result: dict) -> None:
    """Show what was measured."""
    console = Console()
    table = Table(title='A step: forward, loss and backward; medians')
    for column in ('case', 'images', 's', 'images/s', 'GFLOP', 'of the peak'):
        table.add_column(
            column, justify='left' if column == 'case' else 'right'
        )
    for name, case in result['cases'].items():
        rate = case.get('images_per_second')
        table.add_row(
            name,
            str(case['images'] or ''),
            f'{case["seconds"]:.3f}',
            f'{rate:.2f}' if rate else '',
            f'{case["gflop"]:.0f}' if rate else '',
            f'{case["utilisation"]:.2f}' if rate else '',
        )
    console.print(table)
    table = Table(title='Ratios; medians of the rounds')
    table.add_column('ratio')
    table.add_column('', justify='right')
    ratios = {**result['ratios'], **result['crop_ratios']}
    for name, value in ratios.items():
        table.add_row(name, f'{value:.3f}')
    console.print(table)
    console.print(
        f'Matrix products reach {result["peak_gflops"]:.0f} GFLOP/s '
        f'({result["settings"]["precision"]}) on {result["device"]}, '
        f'{result["threads"]} threads.'
    )
    if 'loader' in result:
        loader = result['loader']
        console.print(
            f'The data loader alone: {loader["images_per_second"]:.0f} '
            f'images/s with {loader["workers"]} workers.'
        )


def _device_name(device: str) -> str:
    if device.startswith('cuda'):
        return torch.cuda.get_device_name()
    info = Path('/proc/cpuinfo')  # of Linux; elsewhere platform knows
    if info.exists():
        for line in info.read_text().splitlines():
            if line.startswith('model name'):
                return line.split(':', 1)[1].strip()
    return platform.processor() or platform.machine()


def main() -> None:
    """Run the benchmark."""
    args = parse_args()
    device = args.device or get_device()
    if args.rounds < 1 or args.batch_size < 1:
        raise UsageError('--rounds and --batch-size must be at least 1')
    cfg = load_config(args.config, None, None)
    init_default_scope(cfg.get('default_scope', 'harmoclip_mm'))
    if 'gc' not in cfg.model.get('heads', {}):
        raise UsageError(
            f'{args.config} has no model.heads.gc, which everything is '
            'compared with'
        )
    logging.disable(logging.WARNING)  # weights are random on purpose
    cases, products = build_cases(args, cfg, device)
    time_cases(cases, products, args.rounds)
    peaks = find_utilisation(cases, products)
    ratios = find_ratios(cases, RATIOS)
    ratios['gemm_utilisation'] = cases['gc'].utilisation
    result = dict(
        date=date.today().isoformat(),
        device=_device_name(device),
        threads=torch.get_num_threads(),
        torch=torch.__version__,
        settings=vars(args),
        peak_gflops=statistics.median(peaks) / 1e9,
        ratios=ratios,
        crop_ratios=find_ratios(cases, CROP_RATIOS),
        cases={
            name: dict(
                images=case.images,
                utilisation=case.utilisation,
                **case.summary(),
            )
            for name, case in cases.items()
        },
    )
    if args.loader_images:
        with tempfile.TemporaryDirectory() as folder:
            result['loader'] = time_loader(
                cfg, Path(folder), args.loader_images, args.loader_workers
            )
    print_tables(result)
    if args.out:
        Path(args.out).parent.mkdir(parents=True, exist_ok=True)
        Path(args.out).write_text(json.dumps(result, indent=2) + '\n')


if __name__ == '__main__':
    run_command(main)
