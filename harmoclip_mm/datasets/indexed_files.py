"""Files that are read in pieces, by an index that is made once and kept."""

import hashlib
import os
import os.path as osp
import tempfile
import time
import uuid
from pathlib import Path
from typing import Any, List, Optional, Sequence, Union

import mmengine.fileio as fileio
import numpy as np
from filelock import FileLock
from mmengine.fileio import LocalBackend
from mmengine.logging import print_log
from rich.console import Console
from rich.progress import track

CONSOLE = Console(stderr=True)
_QUIET = 16 << 20  # bytes that are indexed without a progress bar


class IndexedFiles:
    """Files with an index, which says where what is wanted lies in them.

    Local files are read in place. Their index lies beside them, or in the
    user's cache (``$XDG_CACHE_HOME`` or ``~/.cache``) where that is read-only,
    or in memory where both are; it begins with sizes and times of the files,
    and is made anew when these change. Of several processes that start at
    once on a machine one makes it. No backend of mmengine reads a part of a
    file: those of another one are fetched to temporary files and indexed at
    each start, and again in each spawned worker.

    Subclasses say what a row is, ``dtype`` and ``what``, for the log, and
    make the rows in ``_build``.

    Args:
        name (str): Path of what is indexed; the index has its name with
            ``.index`` behind.
        paths (Sequence[str]): The files.
        backend_args (dict, optional): File backend of the files.

    Attributes:
        name (str): The same, absolute where the files are local.
        state (List[list]): :func:`state_of` each file.
        paths (List[str]): Where they are read, local paths.
        rows (np.ndarray): The index, usually mapped from a file, so that all
            processes of a machine share it.

    Raises:
        OSError: If one of them cannot be read.
    """

    dtype: np.dtype
    what: str

    def __init__(
        self,
        name: str,
        paths: Sequence[str],
        backend_args: Optional[dict] = None,
    ) -> None:
        backend = fileio.get_file_backend(paths[0], backend_args=backend_args)
        is_local = isinstance(backend, LocalBackend)
        # absolute, since workers may start elsewhere
        self.name = name = osp.abspath(name) if is_local else name
        if is_local:
            self.paths = [osp.abspath(each) for each in paths]
        else:
            self._folder = tempfile.TemporaryDirectory()
            self.paths = _fetch(paths, self._folder.name, backend)
        state = np.array([state_of(each) for each in self.paths])
        self.state = state.tolist()
        self._quiet = state[:, 0].sum() < _QUIET
        rows = self._open_index(name, state) if is_local else self._build()
        # A plain view: np.memmap takes ten times as long to give a number.
        self.rows = np.asarray(rows)

    def _build(self) -> np.ndarray:
        """Make the rows, an array of ``dtype``."""
        raise NotImplementedError

    def _open_index(self, path: str, state: np.ndarray) -> np.ndarray:
        """Map the index; make it if there is none or a stale one."""
        key = hashlib.sha256(path.encode()).hexdigest()[:16]
        cache = os.environ.get('XDG_CACHE_HOME') or '~/.cache'
        cache = Path(cache, 'harmoclip_mm', 'indices').expanduser()
        beside = Path(f'{path}.index')
        places = beside, cache / f'{osp.basename(path)}.{key}.index'
        lock = f'harmoclip_mm.{os.geteuid()}.{key}.lock'
        with FileLock(osp.join(tempfile.gettempdir(), lock)):
            for place in places:
                index = _map(place, state, self.dtype)
                if index is not None:
                    return index
            begin, index = time.perf_counter(), self._build()
            for place in places:
                try:
                    # Another machine may have made it meanwhile and read from
                    # it: on NFS a file that is replaced kills its readers.
                    if _map(place, state, self.dtype) is None:
                        _save(place, state, index)
                    index = _map(place, state, self.dtype)  # shared memory
                    where = f'kept in {place}'
                    break
                except OSError as error:
                    where = f'not kept for the next start ({error})'
        print_log(
            f'Indexed {len(index)} {self.what} of {path} in '
            f'{time.perf_counter() - begin:.1f} s; {where}',
            logger='current',
        )
        return index


def hash_name(name: str) -> int:
    """64 bits of a name, so that an index need not hold names.

    Among n names two have the same with a probability of n^2 / 2^65, for 20
    million 1e-5.
    """
    content = name.encode('utf-8', 'surrogateescape')
    digest = hashlib.blake2b(content, digest_size=8).digest()
    return int.from_bytes(digest, 'little')


def state_of(file: Union[str, int]) -> List[int]:
    """What changes when a file does: its bytes, and its time in ns."""
    found = os.stat(file)
    return [found.st_size, found.st_mtime_ns]


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


def _fetch(files: Sequence[str], folder: str, backend: Any) -> list:
    """Copy files of a store to a folder, under their names."""
    print_log(
        f'Fetching {len(files)} files to {folder}: their file backend reads '
        'no part of a file. TMPDIR chooses the place',
        logger='current',
    )
    paths = []
    for number, file in enumerate(
        track(files, f'Fetching {len(files)} files', console=CONSOLE)
    ):
        place = Path(folder, str(number), osp.basename(file))
        place.parent.mkdir()
        place.write_bytes(backend.get(file))
        os.utime(place, (0, 0))  # equal wherever it is fetched
        paths.append(str(place))
    return paths
