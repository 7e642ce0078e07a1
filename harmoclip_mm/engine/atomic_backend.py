"""Files that are there as a whole or not at all."""

import contextlib
import os
from pathlib import Path
from typing import Union

from mmengine.fileio import LocalBackend, register_backend

__all__ = ['ATOMIC_BACKEND', 'PART', 'AtomicLocalBackend']

# What `backend_args` name the backend by.
ATOMIC_BACKEND = 'harmoclip_mm.atomic_local'
# Ending of a file that is being written.
PART = '.part'


class AtomicLocalBackend(LocalBackend):
    """mmengine's local files, except that bytes are put in place at once.

    They are written beside their place, flushed to the disk and renamed. A
    process killed meanwhile leaves the older file as it was, and a file with
    the ending ``.part``.
    """

    def put(self, obj: bytes, filepath: Union[str, Path]) -> None:
        """Write a file.

        Args:
            obj (bytes): Its content.
            filepath (str or Path): Its place; folders are made.

        Raises:
            OSError: If it cannot be written; an older file is then unchanged.
        """
        filepath = os.fspath(filepath)
        os.makedirs(os.path.dirname(filepath) or '.', exist_ok=True)
        part = filepath + PART
        try:
            with open(part, 'wb') as file:
                file.write(obj)
                file.flush()
                os.fsync(file.fileno())
            os.replace(part, filepath)
        except OSError:
            with contextlib.suppress(OSError):
                os.remove(part)
            raise


register_backend(ATOMIC_BACKEND, AtomicLocalBackend, force=True)
