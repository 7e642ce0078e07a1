"""The data side: the index of a large file, and what a sample costs."""

import argparse
import copy
import io
import json
import multiprocessing
import os
import re
import statistics
import tarfile
import tempfile
import time
from functools import partial
from itertools import islice
from multiprocessing.reduction import ForkingPickler
from pathlib import Path
from typing import Any, Callable, Dict, Iterator, List, Tuple

import cv2
import numpy as np
import torch
from mmengine.config import ConfigDict
from mmengine.registry import FUNCTIONS, init_default_scope
from mmengine.runner import Runner
from PIL import Image
from rich.console import Console
from rich.progress import track

from harmoclip_mm.apis import load_config
from harmoclip_mm.datasets import RegionPhraseDataset
from harmoclip_mm.datasets.shards import TarShards, read_image
from harmoclip_mm.errors import UsageError
from harmoclip_mm.registry import DATASETS

in_turn = partial(track, console=Console(stderr=True))
MB = 1e6
PHOTO_SIZE = (640, 480)  # the commonest of COCO
THINGS = 'dog,cat,red car,small bus,tall man,young woman,pizza,wooden chair,'
THINGS += 'laptop,white bird,surfboard,clock tower,traffic light,brown horse'
THINGS = THINGS.split(',')
# Left out where the images are decoded already.
DECODING = ('LoadCheckedImage', 'Resize', 'CLIPResize')


def make_lines(
    count: int, fewest: int = 1, most: int = 5, lines_an_image: int = 2
) -> Iterator[str]:
    """Synthetic ODVG lines.

    Args:
        count (int): Lines.
        fewest (int): Fewest regions of a line; they share three phrases of a
            caption of about 14 words.
        most (int): Most regions of a line.
        lines_an_image (int): Lines that name the same image.

    Yields:
        str: A line, with boxes of 1/12 to 1/3 of a side.
    """
    rng, size, texts = np.random.RandomState(0), np.array(PHOTO_SIZE), []
    for _ in range(min(count, 2000)):  # contents repeat, images do not
        phrases = rng.choice(THINGS, 3, replace=False).tolist()
        caption = 'a {} next to a {} and a {} on the street'.format(*phrases)
        regions = []
        for number in range(rng.randint(fewest, most + 1)):
            phrase = phrases[number % 3]
            start = caption.index(phrase)
            corner = rng.rand(2) * size * 2 / 3
            box = [*corner, *(corner + (1 / 12 + rng.rand(2) / 4) * size)]
            regions.append(
                dict(
                    bbox=[round(side, 2) for side in box],
                    phrase=phrase,
                    tokens_positive=[[start, start + len(phrase)]],
                )
            )
        texts.append(json.dumps(dict(caption=caption, regions=regions)))
    for number in range(count):
        yield (
            f'{{"filename": "{number // lines_an_image:09d}.jpg", '
            f'"height": {size[1]}, "width": {size[0]}, '
            f'"grounding": {texts[number % len(texts)]}}}\n'
        )


def write_photos(folder: Path, count: int, regions: int) -> Dict[str, Any]:
    """Writes JPEGs and their annotation.

    Returns:
        Dict[str, Any]: Arguments of ``RegionPhraseDataset``.
    """
    rng = np.random.RandomState(0)
    lines = make_lines(count, regions, regions, lines_an_image=1)
    (folder / 'photos.jsonl').write_text(''.join(lines))
    for number in range(count):
        # Soft shades and a little noise: about the size of a photo's file.
        shades = rng.randint(0, 256, (30, 40, 3), dtype=np.uint8)
        photo = cv2.resize(shades, PHOTO_SIZE, interpolation=cv2.INTER_CUBIC)
        noise = rng.randint(0, 12, photo.shape, dtype=np.uint8)
        name = folder / f'{number:09d}.jpg'
        cv2.imwrite(str(name), cv2.add(photo, noise))
    root = dict(data_root=str(folder), data_prefix=dict(img=''))
    return dict(root, ann_file='photos.jsonl')


def write_tars(folder: Path, images: int, tars: int) -> str:
    """Writes an image of 1 px and a caption for each line to tars, in order.

    Returns:
        str: Pattern of the tars.
    """
    image = io.BytesIO()
    Image.new('L', (1, 1)).save(image, 'JPEG')
    contents = {'jpg': image.getvalue(), 'txt': b'A caption of a photo.'}
    (folder / 'tars').mkdir()
    for number in in_turn(range(tars), 'Writing tars', tars):
        own = range(number * images // tars, (number + 1) * images // tars)
        with tarfile.open(folder / 'tars' / f'{number:05d}.tar', 'w') as tar:
            for place in own:
                for end, content in contents.items():
                    header = tarfile.TarInfo(f'{place:09d}.{end}')
                    header.size = len(content)
                    tar.addfile(header, io.BytesIO(content))
    return f'{folder}/tars/{{00000..{tars - 1:05d}}}.tar'


def measure_index(
    build: Callable[[], Any], path: str, start: str = ''
) -> Dict[str, float]:
    """Make and open the index of a file; names of figures begin with
    ``start``."""
    cpu = time.process_time()
    build_s = seconds_of(build)
    cpu = time.process_time() - cpu
    figures = dict(index_mb=Path(f'{path}.index').stat().st_size / MB)
    figures.update(build_s=build_s, build_cpu_s=cpu, open_s=seconds_of(build))
    return {f'{start}{name}': value for name, value in figures.items()}


def seconds_of(function: Callable[[], Any]) -> float:
    """Seconds of a call, with the work that it queues on a GPU."""
    if torch.cuda.is_available():
        torch.cuda.synchronize()
    start = time.perf_counter()
    function()
    if torch.cuda.is_available():
        torch.cuda.synchronize()
    return time.perf_counter() - start


def memory_mb() -> Dict[str, float]:
    """Memory of this process in MB, zeros where it is not Linux.

    ``pss`` counts a page that n processes share as 1/n; ``private`` counts
    the pages that no other process has; ``rss`` counts all.
    """
    path = Path('/proc/self/smaps_rollup')
    text = path.read_text() if path.exists() else ''
    size = dict(re.findall(r'^(\w+): +(\d+) kB', text, re.M))
    parts = dict(rss=['Rss'], pss=['Pss'])
    parts['private'] = ['Private_Clean', 'Private_Dirty']
    return {
        kind: sum(int(size.get(name, 0)) for name in names) * 1024 / MB
        for kind, names in parts.items()
    }


def read_at_random(dataset, reads: int, seed: int, barrier, queue) -> None:
    """What a worker does: read samples, then tell time and memory."""
    indices = np.random.default_rng(seed).integers(len(dataset), size=reads)
    before, begin = memory_mb(), time.thread_time()
    for index in indices.tolist():
        sample = dataset.get_data_info(index)
        if dataset.data_prefix['img']:  # of the tars
            read_image(sample['img_path'])
    took = time.thread_time() - begin
    barrier.wait()  # memory is shared as long as all workers live
    found = memory_mb()
    barrier.wait()
    found['growth'] = found['rss'] - before['rss']
    queue.put((took / reads, found))


def measure_file(args: argparse.Namespace, folder: Path) -> Dict[str, float]:
    """Index, open and read a synthetic file, and tars."""
    path = folder / 'lines.jsonl'
    with open(path, 'w') as file:
        lines = make_lines(args.lines, lines_an_image=1 if args.tars else 2)
        file.writelines(in_turn(lines, 'Writing lines', args.lines))
    build = partial(RegionPhraseDataset, ann_file=str(path))
    figures = dict(lines=args.lines, file_mb=path.stat().st_size / MB)
    if args.tars:
        pattern = write_tars(folder, args.lines, args.tars)
        tars = partial(TarShards, pattern)
        figures.update(measure_index(tars, pattern, 'tars_'))
        build = partial(
            build,
            data_prefix=dict(img=pattern),
            pipeline=[dict(type='harmoclip_mm.LoadCheckedImage')],
        )
    figures.update(measure_index(build, str(path)))
    context = multiprocessing.get_context('fork')
    queue, barrier = context.SimpleQueue(), context.Barrier(args.workers)
    dataset, workers = build(), []
    for seed in range(args.workers):
        given = (dataset, args.reads, seed, barrier, queue)
        workers.append(context.Process(target=read_at_random, args=given))
        workers[-1].start()
    times, memories = zip(*(queue.get() for _ in workers))
    for worker in workers:
        worker.join()
    figures.update(
        workers=args.workers, read_us=1e6 * statistics.median(times)
    )
    for kind in memories[0]:
        most = max(each[kind] for each in memories)
        figures[f'worker_{kind}_mb'] = most
    return figures


def measure_transforms(
    dataset: Any, images: int
) -> Tuple[Dict[str, float], List[dict]]:
    """CPU milliseconds of each step for an image, and the packed samples."""
    steps = {'read the annotation': dataset.get_data_info}
    steps.update((type(t).__name__, t) for t in dataset.pipeline.transforms)
    spent: Dict[str, List[float]] = {name: [] for name in steps}
    samples = []
    for number in in_turn(range(images), 'Running transforms'):
        sample = number % len(dataset)
        for name, step in steps.items():
            begin = time.thread_time()
            sample = step(sample)
            spent[name].append(1e3 * (time.thread_time() - begin))
            if sample is None:
                break
        else:
            samples.append(sample)
    if not samples:
        raise UsageError('the pipeline gives no sample')
    # The first ones load vocabularies and caption files.
    warm = min(images // 10, 20)
    costs = {
        name: statistics.fmean(times[warm:] or times)
        for name, times in spent.items()
    }
    return costs, samples


def measure_transport(
    samples: List[dict], loader: ConfigDict, batches: int
) -> Tuple[float, float]:
    """CPU milliseconds of an image on its way from a worker, there and in
    the main process: both ends of the queue between them."""
    config = dict(loader.get('collate_fn') or dict(type='pseudo_collate'))
    collate = partial(FUNCTIONS.get(config.pop('type')), **config)
    size, ends = loader['batch_size'], []
    for number in range(batches + 2):
        places = range(number * size, (number + 1) * size)
        batch = [samples[place % len(samples)] for place in places]
        begin = time.thread_time()
        sent = ForkingPickler.dumps(collate(batch))
        middle = time.thread_time()
        ForkingPickler.loads(sent)
        ends.append((middle - begin, time.thread_time() - middle))
    worker, main = np.mean(ends[2:], axis=0) * 1e3 / size
    return float(worker), float(main)


def measure_loader(loader: ConfigDict, workers: int, batches: int) -> float:
    """Images a second of a data loader after its first batch."""
    loader = copy.deepcopy(loader)
    loader.update(
        num_workers=workers,
        persistent_workers=False,
        sampler=dict(type='InfiniteSampler', shuffle=True),
    )
    drawn = iter(Runner.build_dataloader(loader, seed=0))
    next(drawn)  # workers start
    seconds = seconds_of(lambda: list(islice(drawn, batches)))
    return batches * loader['batch_size'] / seconds


def measure_pipeline(args: argparse.Namespace, folder: Path) -> dict:
    """All steps of a config's data loader."""
    config = load_config(args.config, args.cfg_options)
    init_default_scope(config.get('default_scope', 'harmoclip_mm'))
    loader = config.get(f'{args.split}_dataloader')
    if not loader:
        raise UsageError(
            f'{args.config} has no {args.split}_dataloader; choose another '
            '--split'
        )
    if args.photos:
        loader.dataset.update(write_photos(folder, args.photos, 10))
    dataset = DATASETS.build(loader['dataset'])
    steps, samples = measure_transforms(dataset, args.images)
    steps['collate and send'], main_ms = measure_transport(
        samples, loader, args.batches
    )
    total = sum(steps.values())
    rest = total - sum(steps.get(name, 0) for name in DECODING)
    return dict(
        batch_size=loader['batch_size'],
        image_shape=str([*samples[0]['inputs'].shape]),
        steps_ms=steps,
        worker_ms=total,
        worker_without_decoding_ms=rest,
        main_ms=main_ms,
        workers=args.workers,
        images_per_s=measure_loader(loader, args.workers, args.batches),
    )


def run(args: argparse.Namespace) -> Dict[str, Any]:
    """Measures the data side.

    Returns:
        Dict[str, Any]: ``file``, ``pipeline`` or both.
    """
    if not (args.lines or args.config):
        raise UsageError('give --lines, --config or both')
    cv2.setNumThreads(0)  # as in a worker
    torch.set_num_threads(1)
    np.random.seed(0)
    figures: Dict[str, Any] = dict(cores=os.cpu_count())
    if args.folder:
        Path(args.folder).mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=args.folder or None) as folder:
        if args.lines:
            figures['file'] = measure_file(args, Path(folder))
        if args.config:
            figures['pipeline'] = measure_pipeline(args, Path(folder))
    return figures
