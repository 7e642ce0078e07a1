"""Link the phrases of captions to boxes that a grounding detector finds.

    python tools/dataset_converters/ground_captions.py CONFIG CHECKPOINT \\
        CAPTIONS --images DIR --out FILE.jsonl

Noun phrases of each caption are given to MM-Grounding-DINO, Grounding DINO or
GLIP of mmdet with their places in it; FILE gets a line of ODVG a caption, in
their order. The same command goes on where it was stopped, with any number of
processes. Several GPUs, also of machines that share the folder of FILE:

    torchrun --nproc_per_node 8 tools/dataset_converters/ground_captions.py \\
        ... --launcher pytorch
"""

import argparse
import datetime
import json
import os
import os.path as osp
from itertools import count, islice
from pathlib import Path
from typing import Any, Iterator, Sequence, Tuple

try:
    from harmoclip_mm.errors import DataError, UsageError, run_command
except ImportError as error:
    raise SystemExit(f'{error}; did you run `. .venv/bin/activate`?') from None

from odvg_formats.grit import read_tar
from odvg_formats.lines import Tally
from odvg_formats.reading import read_lines, require
from odvg_formats.writing import (
    begin,
    check_out,
    fingerprint,
    join,
    keep_lines,
    make_table,
    whole_parts,
)
from rich.console import Console
from rich.progress import Progress

from harmoclip_mm.apis import load_config
from harmoclip_mm.command_line import add_config_option, add_launcher_options

_WEEK = datetime.timedelta(days=7)  # a process waits for the slowest one
_THRESHOLDS = {
    'box': (0.3, 'least score of a box: mean probability of its words'),
    'text': (0.4, 'least score of the best box of a phrase that gets boxes'),
    'nms': (0.6, 'largest IoU of two boxes, also of two phrases; 1: any'),
}
_NUMBERS = {
    'batch-size': (8, 'captions that the detector gets at once'),
    'num-workers': (4, 'processes that decode images, for each GPU'),
    'chunk': (1000, 'captions until the next file to go on from'),
}


def parse_args() -> argparse.Namespace:
    """Read the command line."""
    raw = argparse.RawDescriptionHelpFormatter
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=raw)
    add = parser.add_argument
    add('config', help="config file of the detector; mmdet::NAME is mmdet's")
    add('checkpoint', help='its checkpoint, a file or an address')
    add(
        'captions',
        help='COCO captions .json, .jsonl of {"filename", "caption"}, or tars '
        'of img2dataset, such as shards/{00000..00831}.tar',
    )
    add('--out', type=Path, required=True, help='jsonl to write')
    add(
        '--images',
        metavar='DIR',
        help='folder or tars of the images (default: the tars of CAPTIONS)',
    )
    for name, (value, text) in _THRESHOLDS.items():
        text += ' (default: %(default)s)'
        add(f'--{name}-thr', type=float, default=value, help=text)
    for name, (value, text) in _NUMBERS.items():
        text += ' (default: %(default)s)'
        add(f'--{name}', type=int, default=value, help=text)
    add_config_option(parser, 'model.language_model.name=DIR')
    add_launcher_options(parser)
    args = parser.parse_args()
    if not all(0 <= getattr(args, f'{each}_thr') <= 1 for each in _THRESHOLDS):
        parser.error('thresholds must be from 0 to 1')
    if min(args.batch_size, args.chunk, args.num_workers + 1) < 1:
        parser.error('--batch-size and --chunk must be positive')
    suffix = osp.splitext(args.captions)[1]
    if suffix not in ('.json', '.jsonl', '.tar'):
        parser.error('CAPTIONS must end with .json, .jsonl or .tar')
    args.images = args.images or (args.captions if suffix == '.tar' else None)
    if not args.images:
        parser.error('--images must name the folder of the images')
    os.environ.setdefault('LOCAL_RANK', str(args.local_rank))
    os.environ.setdefault('TOKENIZERS_PARALLELISM', 'false')  # workers fork
    return args


def read_captions(
    files: Sequence[Path], tally: Tally
) -> Iterator[Tuple[str, str]]:
    """Names of images and their captions, in the order of the files."""
    move = tally.on_move
    for number, file in enumerate(files):
        tally.on_move = lambda at, number=number: move(
            (number + min(at, 1)) / len(files)
        )
        read = {'.tar': _read_tar, '.jsonl': _read_jsonl, '.json': _read_coco}
        for name, caption in read[file.suffix](file, tally):
            tally.where = f'{file}: {name}'
            # half of an escaped pair is a text to json, to no tokenizer
            caption = caption.encode('utf-8', 'replace').decode().strip()
            if caption:
                yield name, caption
            else:
                tally.drop('captions without words')


def _read_tar(file: Path, tally: Tally) -> Iterator[Tuple[str, str]]:
    samples = read_tar(file, tally)
    for name, row in tally.expect("img2dataset's tars", samples):
        # SHARD/NAME, since two tars may have one name
        yield f'{file.stem}/{name}', str(row.get('caption') or '')


def _read_jsonl(file: Path, tally: Tally) -> Iterator[Tuple[str, str]]:
    from harmoclip_mm.coco_file import check_fields

    size, done = file.stat().st_size, 0
    for number, line in read_lines(file):
        where, done = f'{file}:{number}', done + len(line)
        tally.on_move(done / size)
        try:
            record = json.loads(line)
        except ValueError as error:
            raise DataError(f'{where}: not valid JSON ({error})') from error
        check_fields(record, where, filename='name', caption='text')
        yield record['filename'], record['caption']


def _read_coco(file: Path, tally: Tally) -> Iterator[Tuple[str, str]]:
    from harmoclip_mm import coco_file as coco

    path = str(file)
    content = coco.read_json(path, 'give a COCO captions file')
    kinds = dict(id='id', file_name='name')
    images = coco.check_records(content, 'images', path, **kinds)
    names = {image['id']: image['file_name'] for image in images}
    kinds = dict(image_id='id', caption='text')
    found = coco.check_records(content, 'annotations', path, **kinds)
    coco.check_members(found, 'image_id', names, path)
    for number, each in enumerate(found):
        tally.on_move(number / len(found))
        yield names[each['image_id']], each['caption']


def start_processes(cfg: Any, launcher: str) -> None:
    """Join the processes, which only wait for each other: gloo does."""
    import torch
    from torch import distributed

    from harmoclip_mm.engine import setup_launcher

    seconds = int(_WEEK.total_seconds())
    cfg.merge_from_dict({'env_cfg.dist_cfg.timeout': seconds})
    setup_launcher(cfg, launcher)
    if launcher != 'none' and not distributed.is_initialized():
        torch.cuda.set_device(int(os.environ['LOCAL_RANK']))
        distributed.init_process_group('gloo', timeout=_WEEK)


def main() -> None:
    """Ground all captions and tell what became of them."""
    args = parse_args()
    from grounding import ground, load_detector, make_pipeline
    from mmengine.dist import (
        barrier,
        broadcast_object_list,
        get_dist_info,
    )

    from harmoclip_mm.datasets.shards import expand_braces, open_shards
    from harmoclip_mm.engine import close_launcher, use_safe_loading

    files = [Path(each) for each in expand_braces(args.captions)]
    for file in files:
        require(file, 'it should hold captions')
    if '://' not in args.checkpoint and not osp.isfile(args.checkpoint):
        raise UsageError(f'checkpoint {args.checkpoint} does not exist')
    if args.config.startswith('mmdet::'):
        import mmdet

        folder = Path(mmdet.__file__).parent / '.mim/configs'
        args.config = str(folder / args.config[len('mmdet::') :])
    cfg = load_config(args.config, args.cfg_options)
    pipeline = make_pipeline(cfg)
    asked = {**vars(args), 'config': (cfg.model, pipeline)}
    for name in ('launcher', 'local_rank', 'num_workers', 'cfg_options'):
        del asked[name]
    sources = [*files, Path(args.checkpoint)]
    check_out(args.out, sources)
    key = fingerprint(argparse.Namespace(**asked), sources)
    use_safe_loading()
    start_processes(cfg, args.launcher)
    model = load_detector(cfg, args.checkpoint)
    rank, processes = get_dist_info()
    if rank == 0:
        open_shards(args.images)  # one process makes their index
        begin(args.out, key)
    folder = Path(f'{args.out}.chunks')
    # Machines may see a shared folder as it was, so one tells all others.
    told = [whole_parts(folder) if rank == 0 else None]
    broadcast_object_list(told)
    (done,) = told

    reading, turns, number = Tally(), count(), -1
    with Progress(console=Console(stderr=True)) as bar:
        task = bar.add_task('Grounding', total=1, visible=rank == 0)
        reading.on_move = lambda at: bar.update(task, completed=at)
        captions = read_captions(files, reading)
        chunks = iter(lambda: list(islice(captions, args.chunk)), [])
        # Chunks and their batches are the same for any number of processes.
        for number, chunk in enumerate(chunks):
            if number in done or next(turns) % processes != rank:
                continue
            tally = Tally()
            lines = ground(chunk, model, pipeline, args, tally)
            keep_lines(folder, number, lines, tally)
    barrier()
    if rank == 0:
        join(folder, args.out, reading, args.captions, number + 1)
        Console().print(make_table(reading))
        print(f'Wrote {args.out}')
    close_launcher()


if __name__ == '__main__':
    run_command(main)
