"""Random access to the lines of an ODVG file.

A training opens the file by an index that was made once, and parses a line
when a sample needs it. So a million lines open at once, and no process holds
them.
"""

import io
import os
import os.path as osp
import struct
import tempfile
from collections import Counter
from typing import Dict, Optional

import mmengine.fileio as fileio
import numpy as np
from mmengine.fileio import LocalBackend
from rich import progress

from .kept_index import CONSOLE, QUIET, file_state, open_index
from .odvg import parse_odvg_line

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


class OdvgFile:
    """An ODVG file whose lines are read and parsed when asked for.

    The file stays open and is read in place; forked workers share it. The
    index of a local file is kept, see :func:`open_index`. A file of another
    backend is fetched to a temporary one and indexed at each start, and again
    in each spawned worker.

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
        state = file_state([self._file.fileno()])
        self._state = state.tolist() if is_local else state[0, 0]

        def build() -> np.ndarray:
            return _index_lines(self._file.name, self.path)

        if is_local:
            self.rows = open_index(self.path, state, ROW_DTYPE, build, 'lines')
        else:
            self.rows = build()

    def read(self, row: int) -> dict:
        """Read one line.

        Args:
            row (int): Which of the lines that are not blank.

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


def _index_lines(path: str, name: str) -> np.ndarray:
    """Read every line once, check it and note where it lies."""
    images: Dict[str, int] = {}  # name -> ordinal
    rows, start = bytearray(), 0
    with progress.open(
        path,
        'rb',
        description=f'Indexing {osp.basename(name)}',
        console=CONSOLE,
        disable=osp.getsize(path) < QUIET,
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
