"""Measure the data side: the index of a large file, and what a sample costs.

    python tools/analysis_tools/benchmark_data.py --lines 1000000 --out F.json
    python tools/analysis_tools/benchmark_data.py --config CONFIG

The first writes a synthetic ODVG file of so many lines, and measures how long
it takes to index and to open, and what random access costs worker processes.
The second measures each transform of a config's pipeline on its own images,
and the way of a batch from a worker to the main process.
"""

import argparse
import json
import multiprocessing
import os
import random
import resource
import statistics
import tempfile
import time
from functools import partial
from pathlib import Path
from typing import Callable, Dict, Iterator, List, Tuple

import cv2
import numpy as np
import torch
from mmengine.config import DictAction
from mmengine.logging import MMLogger
from mmengine.registry import FUNCTIONS, init_default_scope
from rich.console import Console
from rich.progress import track
from rich.table import Table
from torch.utils.data import DataLoader, Dataset

from harmoclip_mm.apis import UsageError, load_config, run_command
from harmoclip_mm.datasets import RegionPhraseDataset
from harmoclip_mm.registry import DATASETS

MB = 1e6
# Left out where the images are decoded already.
DECODING = ('LoadImageFromFile', 'Resize')


def parse_args() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__.split('\n')[0])
    parser.add_argument(
        '--lines',
        type=int,
        default=0,
        metavar='N',
        help='write, index, open and read an ODVG file of N synthetic lines '
        '(default: %(default)s, do not)',
    )
    parser.add_argument(
        '--folder',
        type=Path,
        help='folder for that file, about 0.5 GB a million lines; it is '
        'deleted afterwards (default: a temporary folder)',
    )
    parser.add_argument(
        '--reads',
        type=int,
        default=20000,
        metavar='N',
        help='lines that each worker reads at random (default: %(default)s)',
    )
    parser.add_argument(
        '--workers',
        type=int,
        default=4,
        help='processes that read (default: %(default)s)',
    )
    parser.add_argument('--config', help='config of the pipeline to measure')
    parser.add_argument(
        '--split',
        choices=('train', 'val', 'test'),
        default='train',
        help='which dataloader of the config (default: %(default)s)',
    )
    parser.add_argument(
        '--images',
        type=int,
        default=200,
        metavar='N',
        help='samples to measure; a small data set is run through again '
        '(default: %(default)s)',
    )
    parser.add_argument(
        '--batches',
        type=int,
        default=10,
        metavar='N',
        help='batches to send from a worker (default: %(default)s)',
    )
    parser.add_argument(
        '--cfg-options',
        nargs='+',
        action=DictAction,
        help='replace settings of the config, KEY=VALUE',
    )
    parser.add_argument('--out', type=Path, help='json file for the figures')
    args = parser.parse_args()
    if args.lines < 1 and not args.config:
        parser.error('give --lines, --config or both')
    for name in ('reads', 'workers', 'images', 'batches'):
        if getattr(args, name) < 1:
            parser.error(f'--{name} must be at least 1')
    return args


def synthetic_lines(count: int, seed: int = 0) -> Iterator[str]:
    """ODVG lines of 3 regions on average; two lines name one image."""
    draw = random.Random(seed)
    colours = ('red', 'green', 'blue', 'small', 'wooden', 'bright')
    things = ('dog', 'car', 'umbrella', 'table', 'street lamp', 'bicycle')
    texts = []
    for _ in range(min(count, 2000)):  # contents repeat, images do not
        caption, regions = 'A photo of', []
        for _ in range(draw.randint(1, 5)):
            phrase = f'a {draw.choice(colours)} {draw.choice(things)}'
            start = len(caption) + 1
            caption = f'{caption} {phrase},'
            x, y = draw.uniform(0, 400), draw.uniform(0, 300)
            box = [x, y, x + draw.uniform(8, 240), y + draw.uniform(8, 180)]
            regions.append(
                {
                    'bbox': [round(side, 2) for side in box],
                    'phrase': phrase,
                    'tokens_positive': [[start, start + len(phrase)]],
                }
            )
        grounding = {'caption': caption[:-1] + '.', 'regions': regions}
        texts.append(json.dumps(grounding))
    for number in range(count):
        yield (
            f'{{"filename": "{number // 2:09d}.jpg", "height": 480, "width": '
            f'640, "grounding": {texts[number % len(texts)]}}}\n'
        )


def timed(function: Callable, *args) -> Tuple[float, object]:
    """Seconds on the clock, and the result."""
    begin, result = time.perf_counter(), function(*args)
    return time.perf_counter() - begin, result


def memory_mb() -> Dict[str, float]:
    """Memory of this process in MB, from /proc where there is one.

    ``pss`` counts a page that n processes share as 1/n; ``private`` counts
    the pages that no other process has; ``rss`` counts all.
    """
    rollup = Path('/proc/self/smaps_rollup')
    if not rollup.exists():
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        return {'rss': peak * 1024 / MB}
    found = {'rss': 0.0, 'pss': 0.0, 'private': 0.0}
    for line in rollup.read_text().splitlines()[1:]:
        name, size = line.lower().split()[:2]
        kind = name.rstrip(':')
        if kind.startswith('private_') and 'hugetlb' not in kind:
            kind = 'private'  # clean and dirty
        if kind in found:
            found[kind] += int(size) * 1024 / MB
    return found


def read_at_random(dataset, reads: int, seed: int, barrier, queue) -> None:
    """What a worker does: read samples, then tell time and memory."""
    indices = np.random.default_rng(seed).integers(len(dataset), size=reads)
    before = memory_mb()
    begin = time.thread_time()
    for index in indices.tolist():
        dataset.get_data_info(index)
    took = time.thread_time() - begin
    barrier.wait()  # memory is shared as long as all workers live
    after = memory_mb()
    barrier.wait()
    queue.put((took / reads, before, after))


def measure_file(args: argparse.Namespace, folder: Path) -> dict:
    """Index, open and read a synthetic file."""
    path = folder / 'benchmark_data.jsonl'
    lines = synthetic_lines(args.lines)
    with open(path, 'w') as file:
        file.writelines(track(lines, 'Writing lines', args.lines))
    build = partial(RegionPhraseDataset, ann_file=str(path))
    before = time.process_time()
    build_s, dataset = timed(build)
    build_cpu_s = time.process_time() - before
    del dataset
    open_s, dataset = timed(build)
    context = multiprocessing.get_context('fork')
    queue, barrier = context.SimpleQueue(), context.Barrier(args.workers)
    workers = [
        context.Process(
            target=read_at_random,
            args=(dataset, args.reads, seed, barrier, queue),
        )
        for seed in range(args.workers)
    ]
    for worker in workers:
        worker.start()
    results = [queue.get() for _ in workers]
    for worker in workers:
        worker.join()
    largest = {
        f'worker_{kind}_mb': max(after[kind] for _, _, after in results)
        for kind in results[0][2]
    }
    return {
        'lines': args.lines,
        'file_mb': path.stat().st_size / MB,
        'index_mb': Path(f'{path}.index').stat().st_size / MB,
        'build_s': build_s,
        'build_cpu_s': build_cpu_s,
        'open_s': open_s,
        'read_us': 1e6 * statistics.median(each[0] for each in results),
        'workers': args.workers,
        'reads': args.reads,
        **largest,
        'worker_growth_mb': max(
            after['rss'] - before['rss'] for _, before, after in results
        ),
    }


def measure_transforms(dataset, images: int) -> Tuple[List[list], List[dict]]:
    """CPU milliseconds of each step for an image, and the packed samples."""
    steps = [('read the annotation', None)]
    steps += [(type(t).__name__, t) for t in dataset.pipeline.transforms]
    spent = [[] for _ in steps]
    samples = []
    for number in track(range(images), 'Running transforms'):
        sample = number % len(dataset)
        for place, (_, transform) in enumerate(steps):
            begin = time.thread_time()
            if transform is None:
                sample = dataset.get_data_info(sample)
            else:
                sample = transform(sample)
            spent[place].append(1e3 * (time.thread_time() - begin))
            if sample is None:
                break
        else:
            samples.append(sample)
    if not samples:
        raise UsageError('the pipeline gives no sample')
    # The first ones load vocabularies and caption files.
    warm = min(images // 10, 20)
    return [
        [name, statistics.fmean(times[warm:] or times)]
        for (name, _), times in zip(steps, spent)
    ], samples


class Ready(Dataset):
    """Samples that are made already: what is left is their transport."""

    def __init__(self, samples: List[dict], length: int) -> None:
        self.samples = samples
        self.length = length

    def __len__(self) -> int:
        return self.length

    def __getitem__(self, index: int) -> dict:
        return self.samples[index % len(self.samples)]


def stamped(collate: Callable, samples: List[dict]) -> tuple:
    """Collate, and tell the CPU time that this worker has had so far."""
    # Of all threads: one of them pickles the batches.
    return time.process_time(), collate(samples)


def measure_transport(
    samples: List[dict], loader: dict, batches: int
) -> Dict[str, float]:
    """CPU milliseconds of an image on its way from a worker."""
    config = dict(loader.get('collate_fn') or dict(type='pseudo_collate'))
    collate = partial(FUNCTIONS.get(config.pop('type')), **config)
    size = loader['batch_size']
    ready = DataLoader(
        Ready(samples, size * (batches + 2)),
        batch_size=size,
        num_workers=1,
        collate_fn=partial(stamped, collate),
    )
    worker, main = [], []
    for stamp, _ in ready:
        worker.append(stamp)
        main.append(time.thread_time())
    per_image = 1e3 / size
    return {
        'worker': per_image * statistics.fmean(np.diff(worker)[1:]),
        'main': per_image * statistics.fmean(np.diff(main)[1:]),
    }


def measure_pipeline(args: argparse.Namespace) -> dict:
    """All steps of a config's data loader."""
    config = load_config(args.config, args.cfg_options)
    init_default_scope(config.get('default_scope', 'harmoclip_mm'))
    loader = config.get(f'{args.split}_dataloader')
    if not loader:
        raise UsageError(
            f'{args.config} has no {args.split}_dataloader; choose another '
            '--split'
        )
    dataset = DATASETS.build(loader['dataset'])
    steps, samples = measure_transforms(dataset, args.images)
    sending = measure_transport(samples, loader, args.batches)
    steps.append(['collate and send', sending['worker']])
    total = sum(cost for _, cost in steps)
    decoding = sum(cost for name, cost in steps if name in DECODING)
    return {
        'config': args.config,
        'split': args.split,
        'images': args.images,
        'batch_size': loader['batch_size'],
        'image_shape': list(samples[0]['inputs'].shape),
        'steps_ms': dict(steps),
        'worker_ms': total,
        'worker_without_decoding_ms': total - decoding,
        'main_ms': sending['main'],
        'images_per_s_8_workers': 8e3 / total,
        'images_per_s_8_workers_without_decoding': 8e3 / (total - decoding),
        'images_per_s_main': 1e3 / sending['main'],
    }


def show(figures: dict, console: Console) -> None:
    """Print the figures as tables."""
    if 'file' in figures:
        found = figures['file']
        table = Table('', 'figure', title=f'ODVG file, {found["lines"]} lines')
        names = {
            'file_mb': 'file, MB',
            'index_mb': 'index, MB',
            'build_s': 'indexing, once, s',
            'build_cpu_s': 'indexing, once, CPU s',
            'open_s': 'opening, s',
            'read_us': 'read and parse a random line, CPU us',
            'worker_pss_mb': 'a worker: shared pages by shares (PSS), MB',
            'worker_private_mb': 'a worker: pages of its own, MB',
            'worker_rss_mb': 'a worker: all pages, libraries too (RSS), MB',
            'worker_growth_mb': 'a worker: growth of RSS by the reads, MB',
        }
        for key, name in names.items():
            if key in found:
                table.add_row(name, f'{found[key]:.2f}')
        console.print(table)
    if 'pipeline' in figures:
        found = figures['pipeline']
        table = Table('step', 'CPU ms an image', title=found['config'])
        for name, cost in found['steps_ms'].items():
            table.add_row(name, f'{cost:.3f}')
        table.add_section()
        table.add_row('worker, in all', f'{found["worker_ms"]:.3f}')
        table.add_row(
            'worker, without loading and resizing',
            f'{found["worker_without_decoding_ms"]:.3f}',
        )
        table.add_row('main process, receive', f'{found["main_ms"]:.3f}')
        table.add_section()
        speed = found['images_per_s_8_workers_without_decoding']
        table.add_row('8 workers on decoded images, images/s', f'{speed:.0f}')
        speed = found['images_per_s_main']
        table.add_row('main process, images/s at most', f'{speed:.0f}')
        console.print(table)


def main() -> None:
    """Run the benchmark."""
    args = parse_args()
    MMLogger.get_instance('benchmark_data', log_level='WARNING')
    cv2.setNumThreads(0)  # as in a worker
    torch.set_num_threads(1)
    np.random.seed(0)
    figures = {'cores': os.cpu_count()}
    if args.lines:
        if args.folder:
            args.folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=args.folder) as folder:
            figures['file'] = measure_file(args, Path(folder))
    if args.config:
        figures['pipeline'] = measure_pipeline(args)
    show(figures, Console())
    if args.out:
        args.out.parent.mkdir(parents=True, exist_ok=True)
        args.out.write_text(json.dumps(figures, indent=2) + '\n')
        print(f'The figures are in {args.out}')


if __name__ == '__main__':
    run_command(main)
