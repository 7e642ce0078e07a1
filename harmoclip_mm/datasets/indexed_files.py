"""Indices that are made once, kept beside what they are of, and mapped."""

import hashlib
import os
import os.path as osp
import tempfile
import time
import uuid
from pathlib import Path
from typing import Callable, Optional, Sequence, Union

import numpy as np
from filelock import FileLock
from mmengine.logging import print_log
from rich.console import Console

QUIET = 16 << 20  # bytes that are indexed without a progress bar
CONSOLE = Console(stderr=True)


def file_state(files: Sequence[Union[str, int]]) -> np.ndarray:
    """What changes when a file does.

    Args:
        files (Sequence[str | int]): Paths or descriptors of n files.

    Returns:
        np.ndarray: Bytes and time of the last change in ns, (n, 2) int64.
    """
    stats = [os.stat(file) for file in files]
    return np.array([[each.st_size, each.st_mtime_ns] for each in stats])


def open_index(
    path: str,
    state: np.ndarray,
    dtype: np.dtype,
    build: Callable[[], np.ndarray],
    what: str,
) -> np.ndarray:
    """Map an index; make it if there is none or a stale one.

    It lies beside the files, or in the user's cache (``$XDG_CACHE_HOME`` or
    ``~/.cache``) where that is read-only, or in memory where both are. It
    begins with the state of its files: others make it stale. Of several
    processes that start at once on a machine one makes it.

    Args:
        path (str): Absolute path of what is indexed; the index has its name
            with ``.index`` behind.
        state (np.ndarray): :func:`file_state` of the files.
        dtype (np.dtype): Type of a row.
        build (Callable): Makes the rows, an array of ``dtype``.
        what (str): What has a row each, for the log.

    Returns:
        np.ndarray: The rows, usually mapped, so that all processes of a
        machine share them.
    """
    key = hashlib.sha256(path.encode()).hexdigest()[:16]
    cache = Path(os.environ.get('XDG_CACHE_HOME') or '~/.cache').expanduser()
    name = f'{osp.basename(path)}.{key}.index'
    places = Path(f'{path}.index'), cache / 'harmoclip_mm' / 'indices' / name
    lock = f'harmoclip_mm.{os.geteuid()}.{key}.lock'
    with FileLock(osp.join(tempfile.gettempdir(), lock)):
        for place in places:
            index = _map(place, state, dtype)
            if index is not None:
                return index
        begin, index = time.perf_counter(), build()
        for place in places:
            try:
                # Another machine may have made it meanwhile and read from
                # it: on NFS a file that is replaced kills its readers.
                if _map(place, state, dtype) is None:
                    _save(place, state, index)
                index = _map(place, state, dtype)  # shared memory
                where = f'kept in {place}'
                break
            except OSError as error:
                where = f'not kept for the next start ({error})'
    print_log(
        f'Indexed {len(index)} {what} of {path} in '
        f'{time.perf_counter() - begin:.1f} s; {where}',
        logger='current',
    )
    return index


def _map(
    place: Path, state: np.ndarray, dtype: np.dtype
) -> Optional[np.ndarray]:
    """The rows of an index file; None if it is missing, stale or broken."""
    try:
        with open(place, 'rb') as file:
            fresh = np.array_equal(np.load(file), state)
            np.lib.format.read_magic(file)
            shape, _, found = np.lib.format.read_array_header_1_0(file)
            start = file.tell()
        if fresh and found == dtype:
            return np.memmap(place, dtype, 'r', start, shape)
    except (OSError, ValueError, EOFError):
        pass
    return None


def _save(place: Path, state: np.ndarray, index: np.ndarray) -> None:
    """Write an index so that it appears whole or not at all."""
    place.parent.mkdir(parents=True, exist_ok=True)
    # not files.replacing: several machines may write the same file at once
    part = place.with_name(f'{place.name}.{uuid.uuid4().hex}')
    try:
        with open(part, 'wb') as file:
            np.save(file, state)
            np.save(file, index)
        os.replace(part, place)
    finally:
        part.unlink(missing_ok=True)
