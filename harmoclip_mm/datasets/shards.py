"""Images in tars, read where they lie.

A path names the tars and, behind them, the image:
``shards/{00000..00831}.tar`` as the prefix of a data set and ``000000123.jpg``
as the name of a file join to ``shards/{00000..00831}.tar/000000123.jpg``, for
whatever data set joins them. Tars are those of webdataset, as img2dataset
writes them: not compressed.
"""

import os
import os.path as osp
import re
import struct
import tarfile
from bisect import bisect_left
from typing import Dict, List, Optional, Tuple

import mmengine.fileio as fileio
import numpy as np
from PIL import Image
from rich.progress import track

from harmoclip_mm.errors import DataError
from harmoclip_mm.files import tar_members

from .indexed_files import CONSOLE, IndexedFiles, hash_name, state_of

_IN_SHARDS = re.compile(r'(.+?\.tar)(?:[/\\](.*))?', re.DOTALL)
_ROW = struct.Struct('<Q3I')
_BLOCK = tarfile.BLOCKSIZE


class TarShards(IndexedFiles):
    """The images of tars by their names, through one index.

    Members that have an extension of Pillow's are images; a name that comes
    twice in one tar is the last of them, as unpacking leaves it. One that is
    in several tars has to be asked for as ``SHARD/NAME``, SHARD being the name
    of a tar without its folder and ``.tar``.

    The index takes 20 bytes an image. Tars of another file backend than the
    local disk are fetched, see :class:`IndexedFiles`; where they do not fit,
    mount the store.

    Args:
        pattern (str): Path of the tars, see :func:`expand_braces`.
        backend_args (dict, optional): File backend of the tars.

    Raises:
        DataError: If a tar is missing, cut off, damaged or compressed.
    """

    dtype = np.dtype(
        [
            ('hash', '<u8'),  # of the member's name; rows are sorted by it
            ('block', '<u4'),  # of 512 bytes, where the image begins
            ('size', '<u4'),  # bytes
            ('shard', '<u4'),  # which of the tars
        ]
    )
    what = 'images'

    def __init__(
        self, pattern: str, backend_args: Optional[dict] = None
    ) -> None:
        shards = expand_braces(pattern)
        path = osp.abspath(pattern)
        folder = osp.dirname(path.split('{')[0])
        # in the folder that it begins with
        name = osp.relpath(path, folder).replace(os.sep, '_')
        try:
            super().__init__(osp.join(folder, name), shards, backend_args)
        except OSError as error:
            raise DataError(
                f'{error.filename or pattern}: the tar cannot be read '
                f'({error.strerror or error}), one of {len(shards)} that '
                f'{pattern} names. Fetch it, or correct the pattern in '
                'data_prefix'
            ) from error

    def __len__(self) -> int:
        return len(self.rows)

    def __contains__(self, name: str) -> bool:
        return bool(self._places(name))

    def read(self, name: str) -> bytes:
        """Read an image.

        Raises:
            OSError: If there is none, more than one, or its tar was changed
                after it was indexed. The message names the tar.
        """
        found = self._places(name)
        if not found:
            raise FileNotFoundError(
                f'it is in none of the {len(self.paths)} tars'
            )
        paths = [self.paths[number] for number in found]
        if len(paths) > 1:
            raise OSError(
                f'it is in {len(paths)} tars, {paths[0]} and {paths[1]} among '
                'them: name it SHARD/NAME in the annotations'
            )
        ((number, (start, size)),) = found.items()
        with open(paths[0], 'rb') as file:
            if state_of(file.fileno()) != self.state[number]:
                raise OSError(
                    f'{paths[0]} was changed while it was in use; start again'
                )
            return os.pread(file.fileno(), size, start)

    def _places(self, name: str) -> Dict[int, Tuple[int, int]]:
        """As :meth:`_find`, of a member or of SHARD/NAME."""
        found = self._find(name)
        if not found and '/' in name:
            shard, rest = name.split('/', 1)
            found = {
                number: place
                for number, place in self._find(rest).items()
                if osp.basename(self.paths[number]) == f'{shard}.tar'
            }
        return found

    def _find(self, name: str) -> Dict[int, Tuple[int, int]]:
        """First byte and size of a member by the numbers of its tars."""
        key, found, hashes = np.uint64(_hash(name)), {}, self.rows['hash']
        place = bisect_left(hashes, key)
        while place < len(hashes) and hashes[place] == key:
            _, block, size, shard = self.rows[place].tolist()
            found[shard] = block * _BLOCK, size
            place += 1
        return found

    def _build(self) -> np.ndarray:
        """Walk through all tars from header to header."""
        images, rows = Image.registered_extensions(), bytearray()
        numbered = track(
            enumerate(self.paths),
            f'Indexing {len(self.paths)} tars',
            len(self.paths),
            console=CONSOLE,
            disable=self._quiet,
        )
        for number, path in numbered:
            for member, _ in tar_members(path):
                if osp.splitext(member.name)[1].lower() in images:
                    block = member.offset_data // _BLOCK
                    rows += _ROW.pack(
                        _hash(member.name), block, member.size, number
                    )
        index = np.frombuffer(rows, dtype=self.dtype)
        return index[np.argsort(index['hash'], kind='stable')]


_opened: Dict[Tuple[str, str], TarShards] = {}


def open_shards(
    pattern: str, backend_args: Optional[dict] = None
) -> Optional[TarShards]:
    """Open tars before their images are read, which makes their index.

    Args:
        pattern (str): Prefix of a data set.
        backend_args (dict, optional): File backend of the tars.

    Returns:
        TarShards or None: The tars, which this process keeps open; None if
        the prefix names none.
    """
    inside = _IN_SHARDS.fullmatch(pattern)
    if inside is None:
        return None
    shards = TarShards(inside[1], backend_args)
    _opened[inside[1], repr(backend_args)] = shards
    return shards


def read_image(path: str, backend_args: Optional[dict] = None) -> bytes:
    """mmengine's ``fileio.get``, which also reads images in tars.

    Args:
        path (str): Path of a file, or of tars and an image in one of them.
        backend_args (dict, optional): File backend of the file or the tars.

    Raises:
        OSError: If it cannot be read.
        DataError: See :class:`TarShards`.
    """
    shards, name = _split(path, backend_args)
    if shards is None:
        return fileio.get(path, backend_args=backend_args)
    return shards.read(name)


def image_exists(path: str, backend_args: Optional[dict] = None) -> bool:
    """Whether there is an image that :func:`read_image` can be asked for.

    Args:
        path (str): Path of a file, or of tars and an image in one of them.
        backend_args (dict, optional): File backend of the file or the tars.

    Returns:
        bool: Whether there is; of several that it may be, too.

    Raises:
        DataError: See :class:`TarShards`.
    """
    shards, name = _split(path, backend_args)
    if shards is None:
        return fileio.exists(path, backend_args=backend_args)
    return name in shards


def _split(
    path: str, backend_args: Optional[dict]
) -> Tuple[Optional[TarShards], str]:
    """The tars of a path, None if it names none, and the image in them."""
    inside = _IN_SHARDS.fullmatch(path)
    if inside is None or not inside[2]:
        return None, path
    shards = _opened.get((inside[1], repr(backend_args)))
    if shards is None:  # in a spawned worker
        shards = open_shards(inside[1], backend_args)
    return shards, inside[2].replace('\\', '/')


def expand_braces(pattern: str) -> List[str]:
    """Expand braces as a shell does.

    Args:
        pattern (str): ``{first..last}`` stands for numbers, filled with zeros
            where the first or last one is, ``{one,two}`` for words.

    Returns:
        List[str]: What it stands for, in order.

    Examples:
        >>> expand_braces('{a,b}/{08..10}.tar')[:4]
        ['a/08.tar', 'a/09.tar', 'a/10.tar', 'b/08.tar']
    """
    found = re.search(r'\{(?:(\d+)\.\.(\d+)|([^{}]*,[^{}]*))\}', pattern)
    if found is None:
        return [pattern]
    first, last, words = found.groups()
    if words is None:
        zeros = max(len(x) if x[0] == '0' else 0 for x in (first, last))
        step = 1 if int(first) <= int(last) else -1
        numbers = range(int(first), int(last) + step, step)
        parts = [f'{number:0{zeros}d}' for number in numbers]
    else:
        parts = words.split(',')
    before, behind = (
        pattern[: found.start()],
        expand_braces(pattern[found.end() :]),
    )
    return [before + part + each for part in parts for each in behind]


def _hash(name: str) -> int:
    """Members of equal hash are asked to be told apart as those that are in
    several tars."""
    return hash_name(name[2:] if name.startswith('./') else name)
