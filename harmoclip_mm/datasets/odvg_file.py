"""Random access to the lines of an ODVG file."""

import io
import os
import os.path as osp
from collections import Counter
from collections.abc import Sequence as SequenceABC
from typing import BinaryIO, Optional, Sequence, Union

import mmengine.fileio as fileio
import numpy as np
from mmengine.fileio import LocalBackend

from .odvg import RegionText, parse_odvg_record, read_odvg_line
from .odvg_index import index_lines, open_index, source_state

__all__ = ['LineGroups', 'OdvgFile']


def _open(path: str) -> BinaryIO:
    """A file that stays open as long as somebody holds it."""
    return open(path, 'rb', buffering=0)


class OdvgFile:
    """An ODVG file whose lines are read and parsed when asked for.

    A local file stays open and is read in place, by its index (see
    :func:`open_index`); forked workers share it. A file of another backend is
    fetched and indexed at each start, and its bytes stay in memory: forked
    workers share them, spawned ones get a copy each.

    Args:
        path (str): The jsonl file.
        backend_args (dict, optional): File backend of ``path``.

    Raises:
        ValueError: For a bad line, naming file and line.
    """

    def __init__(self, path: str, backend_args: Optional[dict] = None) -> None:
        self.name = path
        self.backend_args = backend_args
        backend = fileio.get_file_backend(path, backend_args=backend_args)
        self.is_local = isinstance(backend, LocalBackend)
        if self.is_local:
            self._path = osp.abspath(path)  # workers may start elsewhere
            self._source = source_state(path)
            self._file = _open(path)
            self.rows, self.tally = open_index(path)
        else:
            self._content = fileio.get(path, backend_args=backend_args)
            self.rows, self.tally = index_lines(
                io.BytesIO(self._content), path
            )

    def __len__(self) -> int:
        return len(self.rows)

    def read(self, row: int) -> dict:
        """Read one line.

        Args:
            row (int): Which of the lines that are not blank.

        Returns:
            dict: The record.

        Raises:
            ValueError: If the file was changed after it was opened, so that
                the line is none any more.
        """
        start, size = self.rows[row].tolist()[:2]
        if self.is_local:
            # Unlike seek and read, safe where processes share the file.
            line = os.pread(self._file.fileno(), size, start)
        else:
            line = self._content[start : start + size]
        return read_odvg_line(line, self._where(row))

    def parse(self, record: dict, row: int) -> RegionText:
        """Regions and texts of a record, see :func:`parse_odvg_record`.

        Args:
            record (dict): What :meth:`read` gave for the row.
            row (int): The row, for messages.

        Returns:
            dict: ``caption``, ``phrases``, ``tokens_positive``, ``instances``.
        """
        return parse_odvg_record(record, self._where(row), Counter())

    def _where(self, row: int) -> str:
        return f'{self.name}:{self.rows["line"][row]}'

    def __getstate__(self) -> dict:
        state = dict(self.__dict__)
        if self.is_local:
            del state['_file'], state['rows']
        return state

    def __setstate__(self, state: dict) -> None:
        self.__dict__.update(state)
        if not self.is_local:
            return
        if source_state(self._path) != self._source:
            raise RuntimeError(
                f'{self._path} was changed while it was in use; start again'
            )
        self._file = _open(self._path)
        self.rows = open_index(self._path).rows


class LineGroups(SequenceABC):
    """Which lines make each sample: two arrays for any number of samples.

    Item i is an array of rows, never empty; a slice gives a ``LineGroups``.

    Args:
        lines (np.ndarray): Rows, sample after sample, int64.
        bounds (np.ndarray): Sample i has ``lines[bounds[i]:bounds[i + 1]]``;
            one element more than samples, int64.
    """

    def __init__(self, lines: np.ndarray, bounds: np.ndarray) -> None:
        self.lines = lines
        self.bounds = bounds

    @classmethod
    def one_each(cls, rows: np.ndarray) -> 'LineGroups':
        """Make every one of these rows a sample."""
        return cls(rows, np.arange(len(rows) + 1))

    @classmethod
    def by_image(cls, images: np.ndarray) -> 'LineGroups':
        """Make a sample of the lines of each image.

        Args:
            images (np.ndarray): Image of each line, counted from 0 by first
                appearance.
        """
        counts = np.bincount(images)
        return cls(
            np.argsort(images, kind='stable'),
            np.concatenate([[0], np.cumsum(counts)]),
        )

    def __len__(self) -> int:
        return len(self.bounds) - 1

    def __getitem__(
        self, index: Union[int, slice]
    ) -> Union[np.ndarray, 'LineGroups']:
        if isinstance(index, slice):
            return self.take(range(len(self))[index])
        if not -len(self) <= index < len(self):
            raise IndexError(
                f'sample {index} is out of range for {len(self)} samples'
            )
        index %= len(self)
        return self.lines[self.bounds[index] : self.bounds[index + 1]]

    def take(self, indices: Sequence[int]) -> 'LineGroups':
        """Some of the samples, in this order; an index may come again."""
        indices = np.asarray(indices, dtype=np.int64)
        if len(indices) and not (
            -len(self) <= indices.min() and indices.max() < len(self)
        ):
            raise IndexError(f'indices beyond {len(self)} samples')
        starts = self.bounds[:-1][indices]
        counts = np.diff(self.bounds)[indices]
        bounds = np.concatenate([[0], np.cumsum(counts)])
        shift = np.repeat(starts - bounds[:-1], counts)
        return LineGroups(self.lines[shift + np.arange(bounds[-1])], bounds)

    def keep_lines(self, kept: np.ndarray) -> 'LineGroups':
        """Drop lines, and samples that are left without any.

        Args:
            kept (np.ndarray): For each row whether it stays, bool.
        """
        stays = kept[self.lines]
        counts = np.add.reduceat(stays, self.bounds[:-1], dtype=np.int64)
        return LineGroups(
            self.lines[stays],
            np.concatenate([[0], np.cumsum(counts[counts > 0])]),
        )
