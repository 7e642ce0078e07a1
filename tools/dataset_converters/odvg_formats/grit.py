"""GRIT (Kosmos-2), as img2dataset writes it: captions with grounded chunks.

SOURCE is a folder of img2dataset's output, or one file of it: tars (.jpg,
.json and .txt of each image; made with --save_additional_columns
'["noun_chunks", "ref_exps"]'), or parquet files beside folders of images. File
names are 00000/000000012.jpg: SHARD/NAME where images are read in tars, or
those of the folders. A chunk is [start, end, x1, y1, x2, y2, score]:
characters of the caption, shares of the image's sides. Parquet needs
`pip install pyarrow`. mmdet's grit2odvg wants unpacked tars and one JSON for
each, takes the first two of them, and drops scores.
"""

import json
from pathlib import Path
from typing import Iterator, List, Tuple

from harmoclip_mm.errors import DataError, UsageError
from harmoclip_mm.files import tar_members

from .lines import Line, Tally
from .reading import require

_IMAGES = ('jpg', 'jpeg', 'png', 'webp')

ARGUMENTS = {
    '--chunks': dict(
        choices=('ref_exps', 'noun_chunks'),
        default='ref_exps',
        help='take whole referring expressions, or their heads (default: '
        "%(default)s, as in mmdet's converter)",
    )
}


def list_parts(args) -> List[Path]:
    """The shards."""
    source = require(args.source, 'it should be a folder of tars or parquets')
    if source.is_file():
        return [source]
    found = sorted(source.rglob('*.tar'))
    found = found or sorted(source.rglob('*.parquet'))
    if not found:
        raise DataError(f'{source} holds no .tar and no .parquet')
    if args.images and found[0].suffix == '.tar':
        raise UsageError('--images is for parquet: these images are in tars')
    # the folder of a tar is no part of SHARD/NAME, that of a parquet is
    tars = {}
    for path in found if found[0].suffix == '.tar' else ():
        first = tars.setdefault(path.stem, path)
        if first != path:
            raise DataError(
                f'{first} and {path}: images of both would be named '
                f'{path.stem}/NAME; rename one of the tars, or convert each '
                'folder by itself'
            )
    return found


def read(part: Path, args, tally: Tally) -> Iterator[dict]:
    """A line for each image of a shard."""
    if part.suffix == '.tar':
        folder, rows = Path(part.stem), read_tar(part, tally)
    else:
        root = args.source if args.source.is_dir() else args.source.parent
        folder = part.relative_to(root).with_suffix('')
        rows = _read_parquet(part, args, tally)
    for file, row in rows:
        tally.where = f'{part}: {file}'
        caption, chunks = row.get('caption'), row.get(args.chunks)
        # img2dataset's JSON may hold it as text
        chunks = json.loads(chunks) if type(chunks) is str else chunks
        if chunks is None:
            raise DataError(
                f'{tally.where} lacks {args.chunks}, it has '
                f'{sorted(row)}: see --save_additional_columns of '
                'img2dataset'
            )
        size = row.get('width'), row.get('height')
        line = Line(tally, f'{folder.as_posix()}/{file}', *size, caption or '')
        for chunk in chunks:
            if len(chunk) < 6:
                tally.read['regions'] += 1
                tally.drop('chunks of fewer than 6 numbers')
                continue
            start, end, *box = chunk[:6]
            line.add(
                [box],
                span=(start, end),
                score=chunk[6] if len(chunk) > 6 else None,
                layout='relative-xyxy',
            )
        yield line.grounding()


def read_tar(part: Path, tally: Tally) -> Iterator[Tuple[str, dict]]:
    """Image and JSON of each sample; pixels are passed over."""
    size = part.stat().st_size
    key, image, row = None, None, None
    for member, file in tar_members(part):
        tally.on_move(member.offset / size)
        tally.where = f'{part}: {member.name}'
        folder, _, base = member.name.rpartition('/')
        stem, _, suffix = base.partition('.')
        stem = f'{folder}/{stem}'
        if stem != key:
            yield from _sample(image, row, tally)
            key, image, row = stem, None, None
        if suffix.lower() in _IMAGES:
            image = member.name
        elif suffix == 'json':
            file.seek(member.offset_data)
            row = json.loads(file.read(member.size))
    yield from _sample(image, row, tally)


def _sample(image, row, tally: Tally) -> Iterator[Tuple[str, dict]]:
    if image and row:
        yield image, row
    elif image or row:
        tally.drop('images that failed' if row else 'images without a JSON')


def _read_parquet(file, args, tally: Tally) -> Iterator[Tuple[str, dict]]:
    try:
        import pyarrow
        from pyarrow import parquet
    except ImportError:
        raise UsageError(
            f'{file}: reading parquet needs `pip install pyarrow`'
        ) from None
    try:
        opened = parquet.ParquetFile(file)
        present = set(opened.schema_arrow.names)
        if 'key' not in present:
            raise DataError(
                f'{file} has no column key, so its images have no files: '
                'download them by img2dataset, and give what that writes'
            )
        needed = {'key', 'caption', 'width', 'height', 'status', args.chunks}
        total, done = max(opened.metadata.num_rows, 1), 0
        for batch in opened.iter_batches(
            batch_size=1024, columns=sorted(needed & present)
        ):
            for row in batch.to_pylist():
                tally.on_move(done / total)
                done += 1
                tally.where = f'{file}: {row["key"]}'
                if row.get('status', 'success') == 'success':
                    yield f'{row["key"]}.jpg', row
                else:
                    tally.drop('images that failed')
    except (pyarrow.ArrowException, OSError) as error:
        raise DataError(f'{file}: not a whole parquet ({error})') from error
