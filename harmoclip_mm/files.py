"""Files that are there as a whole or not at all."""

import contextlib
import os
from pathlib import Path
from typing import Iterator, Union

__all__ = ['PART', 'replacing']

# Ending of a file that is being written.
PART = '.part'


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
