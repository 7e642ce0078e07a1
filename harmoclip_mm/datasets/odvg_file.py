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
from typing import BinaryIO, Dict, List, Optional

import mmengine.fileio as fileio
import numpy as np
from filelock import FileLock
from mmengine.fileio import LocalBackend
from mmengine.logging import print_log
from rich import progress
from rich.console import Console

from .odvg import parse_odvg_line

__all__ = ['OdvgFile']

_ROW = struct.Struct('<q5I')
ROW_DTYPE = np.dtype(
    [
        ('start', '<i8'),  # byte in the file
        ('size', '<u4'),  # bytes
        ('line', '<u4'),  # number of the line, from 1
        ('image', '<u4'),  # images are counted by first appearance
        ('short_side', '<u4'),  # px
        ('boxes', '<u4'),  # boxes that are left after clipping
    ]
)
_TALLY = ('boxes', 'clipped', 'dropped')
_EDGE = 1 << 16  # bytes at either end that are hashed
_QUIET = 16 << 20  # bytes that are indexed without a progress bar


class OdvgFile:
    """An ODVG file whose lines are read and parsed when asked for.

    A local file stays open and is read in place; forked workers share it. Its
    index lies beside it, or in the user's cache (``$XDG_CACHE_HOME`` or
    ``~/.cache``) where that is read-only, or in memory where both are. A file
    of another backend is fetched and indexed at each start, and its bytes stay
    in memory: forked workers share them, spawned ones get a copy each.

    Args:
        path (str): The jsonl file.
        backend_args (dict, optional): File backend of ``path``.

    Attributes:
        rows (np.ndarray): A row of ``ROW_DTYPE`` for each line that is not
            blank; usually mapped from a file, so that all processes of a
            machine share it.
        tally (dict[str, int]): ``boxes``, ``clipped`` and ``dropped`` boxes
            of all lines.

    Raises:
        DataError: For a bad line, naming file and line.
    """

    def __init__(self, path: str, backend_args: Optional[dict] = None) -> None:
        backend = fileio.get_file_backend(path, backend_args=backend_args)
        self._content: Optional[bytes] = None
        if isinstance(backend, LocalBackend):
            self.path = osp.abspath(path)  # workers may start elsewhere
            self._open()
        else:
            self.path = path
            self._content = backend.get(path)
            self._use(_index_lines(io.BytesIO(self._content), path))

    def _open(self) -> None:
        self._file = open(self.path, 'rb', buffering=0)  # noqa: SIM115
        self._use(_open_index(self.path))

    def _use(self, index: np.ndarray) -> None:
        self._state, *counts = index[0].tolist()
        self.tally = dict(zip(_TALLY, counts))
        self.rows = index[1:]

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
        if self._content is not None:
            line = self._content[start : start + size]
        else:
            # Unlike seek and read, safe where processes share the file.
            line = os.pread(self._file.fileno(), size, start)
        return parse_odvg_line(line, f'{self.path}:{number}', Counter())

    def __getstate__(self) -> dict:
        own = ('_file', 'rows') if self._content is None else ()
        return {k: v for k, v in self.__dict__.items() if k not in own}

    def __setstate__(self, state: dict) -> None:
        self.__dict__.update(state)
        if self._content is None:
            self._open()
            if self._state != state['_state']:
                raise RuntimeError(
                    f'{self.path} was changed while it was in use; start again'
                )


def _index_lines(file: BinaryIO, name: str, state: int = 0) -> np.ndarray:
    """Read every line once, check it and note where it lies; the row before
    those of the lines holds the state and the tally."""
    tally: Counter = Counter()
    images: Dict[str, int] = {}  # name -> ordinal
    rows = bytearray(_ROW.size)
    start = 0
    for number, line in enumerate(file, 1):
        if line.strip():
            sample = parse_odvg_line(line, f'{name}:{number}', tally)
            image = images.setdefault(sample['filename'], len(images))
            place = start, len(line), number, image
            side = min(sample['height'], sample['width'])
            rows += _ROW.pack(*place, side, len(sample['instances']))
        start += len(line)
    _ROW.pack_into(rows, 0, state, *(tally[key] for key in _TALLY), 0, 0)
    return np.frombuffer(rows, dtype=ROW_DTYPE)


def _file_state(path: str) -> int:
    """What an index is bound to: a hash of size, time of modification, first
    and last 64 KiB of the file, and of the form of the index."""
    with open(path, 'rb') as file:
        stat = os.fstat(file.fileno())
        about = f'{ROW_DTYPE} {stat.st_size} {stat.st_mtime_ns}'
        digest = hashlib.sha256(about.encode() + file.read(_EDGE))
        file.seek(max(0, stat.st_size - _EDGE))
        digest.update(file.read(_EDGE))
    return int.from_bytes(digest.digest()[:8], 'little', signed=True)


def _open_index(path: str) -> np.ndarray:
    """Map the index of a local file; make it if there is none or a stale one.
    Of several processes that start at once on a machine one makes it."""
    state, places = _file_state(path), _index_places(path)
    with _index_lock(path):
        for place in places:
            try:
                index = np.load(place, mmap_mode='r')
            except (OSError, ValueError):  # none, or no array
                continue
            if index.dtype == ROW_DTYPE and index['start'][0] == state:
                return index
        begin, reason = time.perf_counter(), 'kept nowhere'
        with progress.open(
            path,
            'rb',
            description=f'Indexing {osp.basename(path)}',
            console=Console(stderr=True),
            disable=osp.getsize(path) < _QUIET,
        ) as file:
            index = _index_lines(io.BufferedReader(file), path, state)
        for place in places:
            try:
                _save(index, place)
                index = np.load(place, mmap_mode='r')  # shared memory
                reason = f'kept in {place}'
                break
            except OSError as error:
                reason = f'not kept for the next start ({error})'
    print_log(
        f'Indexed {len(index) - 1} lines of {path} in '
        f'{time.perf_counter() - begin:.1f} s; {reason}',
        logger='current',
    )
    return index


def _index_places(path: str) -> List[Path]:
    """Where the index of a file may lie, the best place first."""
    base = os.environ.get('XDG_CACHE_HOME') or osp.expanduser('~/.cache')
    cache = Path(base, 'harmoclip_mm', 'indices')
    name = f'{osp.basename(path)}.{_key(path)}.index'
    return [Path(f'{osp.abspath(path)}.index'), cache / name]


def _index_lock(path: str) -> FileLock:
    """The lock of who makes an index; it ends with the process."""
    name = f'harmoclip_mm.{os.geteuid()}.{_key(path)}.lock'
    return FileLock(osp.join(tempfile.gettempdir(), name))


def _key(path: str) -> str:
    return hashlib.sha256(osp.abspath(path).encode()).hexdigest()[:16]


def _save(index: np.ndarray, place: Path) -> None:
    """Write an index so that it appears whole or not at all."""
    place.parent.mkdir(parents=True, exist_ok=True)
    part = place.with_name(f'{place.name}.{uuid.uuid4().hex}')
    try:
        with open(part, 'wb') as file:
            np.save(file, index)
            file.flush()
            os.fsync(file.fileno())
        os.replace(part, place)
    finally:
        if part.exists():
            part.unlink()
