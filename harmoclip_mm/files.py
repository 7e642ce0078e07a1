"""Files that are there as a whole or not at all."""

import contextlib
import os
import tarfile
import tempfile
from pathlib import Path
from typing import BinaryIO, Iterator, Tuple, Union

from harmoclip_mm.errors import DataError, UsageError

# Ending of a file that is being written.
PART = '.part'


def check_writable(path: Union[str, Path]) -> None:
    """Refuse a place for a file before the work whose result it is to hold.

    Args:
        path (str or Path): The file's place; folders are made.

    Raises:
        UsageError: If no file can be written there.
    """
    path = os.fspath(path)
    folder = os.path.dirname(path) or '.'
    try:
        os.makedirs(folder, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            reason = 'it is a folder' if os.path.isdir(path) else None
    except OSError as error:
        reason = error.strerror or error
    if reason:
        raise UsageError(
            f'{path} cannot be written ({reason}): give another place'
        )


@contextlib.contextmanager
def replacing(path: Union[str, Path]) -> Iterator[str]:
    """Write a file beside its place and rename it once it is on the disk.

    A process killed meanwhile leaves the older file as it was, and one with
    the ending ``.part``. Two processes may not write the same file at once.

    Args:
        path (str or Path): The file's place; folders are made.

    Yields:
        str: The name to write to, by whatever writes files. If that raises,
        the older file stays and the unfinished one is removed.
    """
    path = os.fspath(path)
    os.makedirs(os.path.dirname(path) or '.', exist_ok=True)
    part = path + PART
    with open(part, 'wb') as file:
        mode = os.fstat(file.fileno()).st_mode  # as the umask has it
    try:
        yield part
        os.chmod(part, mode)  # safetensors writes files that are private
        with open(part, 'rb') as file:
            os.fsync(file.fileno())
        os.replace(part, path)
    except BaseException:
        with contextlib.suppress(OSError):
            os.remove(part)
        raise


def tar_members(
    path: Union[str, Path],
) -> Iterator[Tuple[tarfile.TarInfo, BinaryIO]]:
    """Walk through a tar from header to header, in little memory.

    Args:
        path (str or Path): The tar, not compressed.

    Yields:
        tuple: A file in it, and the tar, open for reading.

    Raises:
        DataError: If it is not whole; behind its last whole file at the
            latest.
    """
    try:
        with open(path, 'rb') as file, tarfile.open(
            fileobj=file, mode='r:'
        ) as tar:
            size = os.fstat(file.fileno()).st_size
            member = tar.next()
            while member is not None:
                if member.offset_data + member.size > size:
                    raise tarfile.ReadError(f'{member.name} is cut off')
                if member.isreg():
                    yield member, file
                tar.members.clear()  # it would keep all of them
                member = tar.next()
            # tarfile ends without a word at whatever is no header.
            file.seek(tar.offset)
            if file.read(tarfile.BLOCKSIZE) != bytes(tarfile.BLOCKSIZE):
                raise tarfile.ReadError('the mark of its end is missing')
    except (tarfile.TarError, OSError) as error:
        raise DataError(
            f'{path}: the tar is cut off, damaged or compressed ({error}). '
            'Fetch it again and do not compress it, or leave it out, with its '
            'lines of the annotations'
        ) from error
