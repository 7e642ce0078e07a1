"""Random access to the lines of an ODVG file.

A training opens the file by an index that was made once, and parses a line
when a sample needs it. So a million lines open at once, and no process holds
them.
"""

import hashlib
import io
import os
import os.path as osp
import struct
import tempfile
import time
import uuid
from collections import Counter
from pathlib import Path
from typing import Dict, Optional

import mmengine.fileio as fileio
import numpy as np
from filelock import FileLock
from mmengine.fileio import LocalBackend
from mmengine.logging import print_log
from rich import progress
from rich.console import Console

from .odvg import parse_odvg_line

__all__ = ['OdvgFile']

_ROW = struct.Struct('<q7I')
ROW_DTYPE = np.dtype(
    [
        ('start', '<i8'),  # byte in the file
        ('size', '<u4'),  # bytes
        ('line', '<u4'),  # number of the line, from 1
        ('image', '<u4'),  # images are counted by first appearance
        ('short_side', '<u4'),  # px
        ('boxes', '<u4'),  # boxes that are left after clipping
        ('clipped', '<u4'),  # those of them that were clipped
        ('dropped', '<u4'),  # boxes of which nothing was left
    ]
)
_QUIET = 16 << 20  # bytes that are indexed without a progress bar


class OdvgFile:
    """An ODVG file whose lines are read and parsed when asked for.

    The file stays open and is read in place; forked workers share it. The
    index of a local file lies beside it, or in the user's cache
    (``$XDG_CACHE_HOME`` or ``~/.cache``) where that is read-only, or in memory
    where both are. A file of another backend is fetched to a temporary one
    and indexed at each start, and again in each spawned worker.

    Args:
        path (str): The jsonl file.
        backend_args (dict, optional): File backend of ``path``.

    Attributes:
        rows (np.ndarray): A row of ``ROW_DTYPE`` for each line that is not
            blank; usually mapped from a file, so that all processes of a
            machine share it.

    Raises:
        DataError: For a bad line, naming file and line.
    """

    def __init__(self, path: str, backend_args: Optional[dict] = None) -> None:
        self.path, self._backend_args = path, backend_args
        self._open()

    def _open(self) -> None:
        backend = fileio.get_file_backend(
            self.path, backend_args=self._backend_args
        )
        is_local = isinstance(backend, LocalBackend)
        if is_local:
            self.path = osp.abspath(self.path)  # workers may start elsewhere
            self._file = open(self.path, 'rb')  # noqa: SIM115
        else:
            self._file = tempfile.NamedTemporaryFile()  # noqa: SIM115
            self._file.write(backend.get(self.path))
            self._file.flush()
        stat = os.fstat(self._file.fileno())
        self._state = stat.st_size, is_local and stat.st_mtime_ns
        if is_local:
            self.rows = _open_index(self.path)
        else:
            self.rows = _index_lines(self._file.name, self.path)

    def read(self, row: int) -> dict:
        """Read one line.

        Args:
            row (int): Which of the lines that are not blank.

        Returns:
            dict: See :func:`parse_odvg_line`.

        Raises:
            DataError: If the file was changed after it was opened, so that
                the line is none any more.
        """
        start, size, number = self.rows[row].tolist()[:3]
        # Unlike seek and read, safe where processes share the file.
        line = os.pread(self._file.fileno(), size, start)
        return parse_odvg_line(line, f'{self.path}:{number}', Counter())

    def __getstate__(self) -> dict:
        return {**self.__dict__, '_file': None, 'rows': None}

    def __setstate__(self, state: dict) -> None:
        self.__dict__.update(state)
        self._open()
        if self._state != state['_state']:
            raise RuntimeError(
                f'{self.path} was changed while it was in use; start again'
            )


def _open_index(path: str) -> np.ndarray:
    """Map the index of a local file; make it if there is none or a stale one.
    It lies beside the file, or in the user's cache where that is read-only,
    and has the file's time. Of several processes that start at once on a
    machine one makes it."""
    key = hashlib.sha256(path.encode()).hexdigest()[:16]
    cache = Path(os.environ.get('XDG_CACHE_HOME') or '~/.cache').expanduser()
    name = f'{osp.basename(path)}.{key}.index'
    places = Path(f'{path}.index'), cache / 'harmoclip_mm' / 'indices' / name
    changed = os.stat(path).st_mtime_ns
    lock = f'harmoclip_mm.{os.geteuid()}.{key}.lock'
    with FileLock(osp.join(tempfile.gettempdir(), lock)):
        for place in places:
            try:
                index = np.load(place, mmap_mode='r')
                is_fresh = os.stat(place).st_mtime_ns == changed and _ends_at(
                    path, index
                )
            except (OSError, ValueError):  # none, or no array
                continue
            if is_fresh and index.dtype == ROW_DTYPE:
                return index
        begin, index = time.perf_counter(), _index_lines(path, path)
        for place in places:
            try:
                _save(index, place, changed)
                index = np.load(place, mmap_mode='r')  # shared memory
                where = f'kept in {place}'
                break
            except OSError as error:
                where = f'not kept for the next start ({error})'
    print_log(
        f'Indexed {len(index)} lines of {path} in '
        f'{time.perf_counter() - begin:.1f} s; {where}',
        logger='current',
    )
    return index


def _ends_at(path: str, index: np.ndarray) -> bool:
    """Whether nothing follows the last line of an index in its file."""
    end = sum(index[-1].tolist()[:2]) if len(index) else 0
    with open(path, 'rb') as file:
        file.seek(end)
        return os.stat(path).st_size >= end and not file.read(4096).strip()


def _index_lines(path: str, name: str) -> np.ndarray:
    """Read every line once, check it and note where it lies."""
    images: Dict[str, int] = {}  # name -> ordinal
    rows, start = bytearray(), 0
    with progress.open(
        path,
        'rb',
        description=f'Indexing {osp.basename(name)}',
        console=Console(stderr=True),
        disable=osp.getsize(path) < _QUIET,
    ) as file:
        for number, line in enumerate(io.BufferedReader(file), 1):
            if line.strip():
                tally: Counter = Counter()
                sample = parse_odvg_line(line, f'{name}:{number}', tally)
                image = images.setdefault(sample['filename'], len(images))
                side = min(sample['height'], sample['width'])
                place = start, len(line), number, image, side
                boxes = len(sample['instances'])
                rows += _ROW.pack(
                    *place, boxes, tally['clipped'], tally['dropped']
                )
            start += len(line)
    return np.frombuffer(rows, dtype=ROW_DTYPE)


def _save(index: np.ndarray, place: Path, changed: int) -> None:
    """Write an index so that it appears whole or not at all."""
    place.parent.mkdir(parents=True, exist_ok=True)
    part = place.with_name(f'{place.name}.{uuid.uuid4().hex}')
    try:
        with open(part, 'wb') as file:
            np.save(file, index)
        os.utime(part, ns=(changed, changed))
        os.replace(part, place)
    finally:
        part.unlink(missing_ok=True)
