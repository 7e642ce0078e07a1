"""Random access to the lines of an ODVG file.

A training opens the file by an index that was made once, and parses a line
when a sample needs it. So a million lines open at once, and no process holds
them.
"""

import io
import os.path as osp
import struct
from array import array
from collections import Counter
from typing import Optional

import numpy as np
from rich import progress

from harmoclip_mm.errors import DataError

from .indexed_files import CONSOLE, IndexedFiles, hash_name
from .odvg import parse_odvg_line

_ROW = struct.Struct('<q7I')


class OdvgFile(IndexedFiles):
    """An ODVG file whose lines are read and parsed when asked for.

    Args:
        path (str): The jsonl file.
        backend_args (dict, optional): File backend of ``path``, see
            :class:`IndexedFiles`.

    Attributes:
        rows (np.ndarray): A row of ``dtype`` for each line that is not blank.

    Raises:
        DataError: For a bad line, naming file and line.
    """

    dtype = np.dtype(
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
    what = 'lines'

    def __init__(self, path: str, backend_args: Optional[dict] = None) -> None:
        super().__init__(path, [path], backend_args)

    def read(self, row: int) -> dict:
        """Read one line.

        Args:
            row (int): Which of the lines that are not blank.

        Raises:
            DataError: If the file was changed after it was opened.
        """
        start, size, number = self.rows[row].tolist()[:3]
        try:
            line = self.read_bytes(0, start, size)
        except OSError as error:
            raise DataError(str(error)) from error
        return parse_odvg_line(line, f'{self._args[0]}:{number}', Counter())

    def _build(self) -> np.ndarray:
        """Read every line once, check it and note where it lies."""
        name = self._args[0]
        rows, hashes, start = bytearray(), array('Q'), 0
        with progress.open(
            self.paths[0],
            'rb',
            description=f'Indexing {osp.basename(name)}',
            console=CONSOLE,
            disable=self._quiet,
        ) as file:
            for number, line in enumerate(io.BufferedReader(file), 1):
                if line.strip():
                    tally: Counter = Counter()
                    sample = parse_odvg_line(line, f'{name}:{number}', tally)
                    hashes.append(hash_name(sample['filename']))
                    side = min(sample['height'], sample['width'])
                    boxes = len(sample['instances'])
                    place = start, len(line), number, 0, side, boxes
                    rows += _ROW.pack(
                        *place, tally['clipped'], tally['dropped']
                    )
                start += len(line)
        index = np.frombuffer(rows, dtype=self.dtype)
        _, first, image = np.unique(
            np.asarray(hashes), return_index=True, return_inverse=True
        )
        index['image'] = np.argsort(np.argsort(first))[image]
        return index
