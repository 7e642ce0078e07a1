"""Where the lines of an ODVG file lie, found once and kept beside the file.

A training opens the file by its index and parses a line when a sample needs
it. So a million lines open at once, and no process holds them.
"""

import contextlib
import hashlib
import json
import os
import os.path as osp
import struct
import tempfile
import time
from collections import Counter
from pathlib import Path
from typing import BinaryIO, Callable, Dict, Iterator, NamedTuple, Optional

import numpy as np
from filelock import FileLock, Timeout
from mmengine.logging import print_log
from rich.console import Console
from rich.progress import (
    BarColumn,
    DownloadColumn,
    Progress,
    TextColumn,
    TimeRemainingColumn,
)

from .odvg import parse_odvg_record, read_odvg_line

__all__ = ['OdvgIndex', 'index_lines', 'open_index', 'source_state']

_FORMAT = 'harmoclip_mm ODVG index 1'
_HEADER = 4096  # bytes of JSON before the rows
_ROW = struct.Struct('<q6I')
ROW_DTYPE = np.dtype(
    [
        ('start', '<i8'),  # byte in the file
        ('size', '<u4'),  # bytes
        ('line', '<u4'),  # number of the line, from 1
        ('image', '<u4'),  # images are counted by first appearance
        ('first', '<u4'),  # row of the first line of the same image
        ('short_side', '<u4'),  # px
        ('boxes', '<u4'),  # boxes that are left after clipping
    ]
)
_LIMIT = 2**32 - 1
_EDGE = 1 << 16  # bytes at either end that are hashed
_QUIET = 16 << 20  # bytes that are indexed without a progress bar


class OdvgIndex(NamedTuple):
    """The lines of an ODVG file that are not blank.

    Attributes:
        rows (np.ndarray): One row of ``ROW_DTYPE`` a line; usually mapped
            from a file, so that all processes of a machine share it.
        tally (Dict[str, int]): ``boxes``, ``clipped`` and ``dropped`` boxes
            of all lines.
    """

    rows: np.ndarray
    tally: Dict[str, int]


def index_lines(
    file: BinaryIO,
    name: str,
    advance: Optional[Callable[[int], None]] = None,
) -> OdvgIndex:
    """Read every line once, check it and note where it lies.

    Args:
        file (BinaryIO): The ODVG file; blank lines are passed over.
        name (str): What messages call it.
        advance (Callable, optional): Is told the bytes read so far, every
            thousand lines.

    Returns:
        OdvgIndex: The index, in memory.

    Raises:
        ValueError: For a bad line, naming file and line.
    """
    tally: Counter = Counter()
    images: Dict[str, tuple] = {}  # name -> ordinal, first row
    rows = bytearray()
    count = start = 0
    for number, line in enumerate(file, 1):
        if line.strip():
            where = f'{name}:{number}'
            record = read_odvg_line(line, where)
            text = parse_odvg_record(record, where, tally)
            image = images.setdefault(record['filename'], (len(images), count))
            short_side = min(record['width'], record['height'], _LIMIT)
            rows += _ROW.pack(
                *(start, len(line), number, *image),
                *(short_side, len(text['instances'])),
            )
            count += 1
        start += len(line)
        if advance is not None and not number % 1000:
            advance(start)
    totals = {key: tally[key] for key in ('boxes', 'clipped', 'dropped')}
    return OdvgIndex(np.frombuffer(rows, dtype=ROW_DTYPE), totals)


def source_state(path: str) -> dict:
    """What an index is bound to: if it changes, the index is stale.

    Args:
        path (str): A local file.

    Returns:
        dict: Size in bytes, time of modification in ns, and a hash of the
        first and last 64 KiB.
    """
    with open(path, 'rb') as file:
        stat = os.fstat(file.fileno())
        digest = hashlib.sha256(file.read(_EDGE))
        file.seek(max(0, stat.st_size - _EDGE))
        digest.update(file.read(_EDGE))
    return {
        'size': stat.st_size,
        'mtime_ns': stat.st_mtime_ns,
        'digest': digest.hexdigest(),
    }


def index_places(path: str) -> Iterator[Path]:
    """Where the index of a file may lie: beside it, else in the user's cache
    (``$XDG_CACHE_HOME`` or ``~/.cache``)."""
    full = osp.abspath(path)
    yield Path(f'{full}.index')
    base = os.environ.get('XDG_CACHE_HOME') or osp.expanduser('~/.cache')
    key = hashlib.sha256(full.encode()).hexdigest()[:16]
    folder = Path(base) / 'harmoclip_mm' / 'indices'
    yield folder / f'{osp.basename(full)}.{key}.index'


def open_index(path: str) -> OdvgIndex:
    """Map the index of a local file; make it if there is none or a stale one.

    Of several processes that start at once one makes it, under a lock that
    ends with the process, and the others wait. The index appears whole or
    not at all. Where nothing can be written it is kept in memory.

    Args:
        path (str): A local ODVG file.

    Returns:
        OdvgIndex: The index.

    Raises:
        ValueError: For a bad line, naming file and line.
    """
    source = source_state(path)
    places = list(index_places(path))
    for place in places:
        index = _load(place, source)
        if index is not None:
            return index
    for place in places:
        with contextlib.ExitStack() as stack:
            try:
                place.parent.mkdir(parents=True, exist_ok=True)
                stack.enter_context(_only_one(place))
            except (OSError, NotImplementedError):
                continue  # read-only, or without locks: the next place
            return _load(place, source) or _build(path, source, place)
    return _build(path, source, None)


@contextlib.contextmanager
def _only_one(place: Path) -> Iterator[None]:
    """Hold the lock of an index file."""
    lock = FileLock(f'{place}.lock')
    try:
        lock.acquire(timeout=1)
    except Timeout:
        print_log(
            f'Waiting for another process to write {place}', logger='current'
        )
        lock.acquire()
    try:
        yield
    finally:
        # Who waits for the file that vanishes finds the index written.
        with contextlib.suppress(OSError):
            os.unlink(lock.lock_file)
        lock.release()


def _build(path: str, source: dict, place: Optional[Path]) -> OdvgIndex:
    begin = time.perf_counter()
    with open(path, 'rb') as file, _progress(path, source) as advance:
        index = index_lines(file, path, advance)
    took = time.perf_counter() - begin
    error: object = 'no folder for it is writable'
    if place is not None:
        try:
            _save(index, source, place)
        except OSError as full:
            error = full
        else:
            print_log(
                f'Indexed {len(index.rows)} lines of {path} in {took:.1f} s; '
                f'kept in {place}',
                logger='current',
            )
            # The mapped rows instead of those in this process's memory.
            return _load(place, source) or index
    print_log(
        f'The index of {path} took {took:.1f} s and cannot be kept for the '
        f'next start ({error})',
        logger='current',
    )
    return index


@contextlib.contextmanager
def _progress(path: str, source: dict) -> Iterator[Callable[[int], None]]:
    """A bar over the bytes of a file, unless it is small."""
    with Progress(
        TextColumn('Indexing {task.description}'),
        BarColumn(),
        DownloadColumn(),
        TimeRemainingColumn(),
        console=Console(stderr=True),
        disable=source['size'] < _QUIET,
    ) as bar:
        task = bar.add_task(osp.basename(path), total=source['size'])
        yield lambda done: bar.update(task, completed=done)
        bar.update(task, completed=source['size'])


def _save(index: OdvgIndex, source: dict, place: Path) -> None:
    """Write an index so that it appears whole or not at all."""
    head = {
        'format': _FORMAT,
        'source': source,
        'rows': len(index.rows),
        'tally': index.tally,
    }
    handle, name = tempfile.mkstemp(prefix=place.name, dir=place.parent)
    try:
        with os.fdopen(handle, 'wb') as file:
            file.write(json.dumps(head).encode().ljust(_HEADER))
            file.write(index.rows.data)
            file.flush()
            os.fsync(file.fileno())
        os.chmod(name, 0o644)  # mkstemp's are for their owner alone
        os.replace(name, place)
    except BaseException:
        os.unlink(name)
        raise


def _load(place: Path, source: dict) -> Optional[OdvgIndex]:
    """Map an index; None if there is none that is whole and up to date."""
    try:
        with open(place, 'rb') as file:
            head = json.loads(file.read(_HEADER))
            count = head['rows']
            size = _HEADER + count * ROW_DTYPE.itemsize
            if (
                head['format'] != _FORMAT
                or head['source'] != source
                or os.fstat(file.fileno()).st_size != size
            ):
                return None
            rows = np.zeros(0, dtype=ROW_DTYPE)
            if count:
                rows = np.memmap(file, ROW_DTYPE, 'r', _HEADER, (count,))
            return OdvgIndex(rows, head['tally'])
    except (OSError, ValueError, KeyError, TypeError):
        return None
