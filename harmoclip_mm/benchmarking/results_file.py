"""What was measured: one JSON line for each checkpoint and protocol."""

import hashlib
import json
import os
import os.path as osp
import platform
from functools import partial
from importlib import import_module
from pathlib import Path
from typing import Any, Dict, Iterable, List, Mapping, Optional, Sequence

import numpy as np
import torch
from torch import nn

from harmoclip_mm.errors import DataError
from harmoclip_mm.evaluation.functional import Units
from harmoclip_mm.files import replacing

__all__ = [
    'Results',
    'hash_of_data',
    'hash_of_weights',
    'software_versions',
]

# What makes two measurements the same one.
_KEY = ('protocol', 'checkpoint_hash', 'data_hash', 'limit', 'amp')
_BLOCK = 1 << 20


class Results:
    """Rows of figures, in memory and, if there is a folder, in
    ``results.jsonl`` there.

    Args:
        folder (str, optional): The folder. Defaults to None: memory alone.
        writes (bool): Whether this process writes what is added. Defaults to
            True.

    Attributes:
        rows (List[dict]): The rows, oldest first.

    Raises:
        DataError: If a line of the file is no row.
    """

    def __init__(
        self, folder: Optional[str] = None, writes: bool = True
    ) -> None:
        self.folder, self.writes = folder, writes
        self.rows: List[Dict[str, Any]] = []
        self._units: Dict[str, Dict[str, Units]] = {}
        if folder is None or not osp.exists(self.path):
            return
        with open(self.path, encoding='utf-8') as file:
            for number, line in enumerate(file, 1):
                try:
                    row = json.loads(line)
                    [row[key] for key in (*_KEY, 'figures', 'checkpoint')]
                except (ValueError, KeyError, TypeError) as error:
                    raise DataError(
                        f'{self.path}, line {number} is no result '
                        f'({error!r}): delete the line, and its protocol is '
                        'measured again'
                    ) from error
                self.rows.append(row)

    @property
    def path(self) -> str:
        """The file."""
        return osp.join(self.folder, 'results.jsonl')

    def find(self, key: Mapping[str, Any]) -> Optional[Dict[str, Any]]:
        """The row of a measurement that was made.

        Args:
            key (Mapping[str, Any]): Protocol, hashes of weights and data,
                limit and precision.

        Returns:
            dict: The row; None if there is none.
        """
        for row in self.rows:
            if all(row[name] == key[name] for name in _KEY):
                return row
        return None

    def add(self, row: Mapping[str, Any], units: Mapping[str, Units]) -> None:
        """Keep a row, and what its figures are means of.

        Args:
            row (Mapping[str, Any]): The row.
            units (Mapping[str, Units]): By the keys of its figures.
        """
        self.rows.append(dict(row))
        self._units[_name(row)] = dict(units)
        if self.folder is None or not self.writes:
            return
        if units:
            arrays = {
                f'{key}.{field}': value
                for key, each in units.items()
                for field, value in each._asdict().items()
                if value is not None
            }
            path = self._units_path(row)
            with replacing(path) as part, open(part, 'wb') as file:
                np.savez_compressed(file, **arrays)
        lines = [json.dumps(each) + '\n' for each in self.rows]
        with replacing(self.path) as part:
            Path(part).write_text(''.join(lines), encoding='utf-8')

    def units(self, row: Mapping[str, Any]) -> Dict[str, Units]:
        """What the figures of a row are means of.

        Args:
            row (Mapping[str, Any]): One of :attr:`rows`.

        Returns:
            Dict[str, Units]: By the keys of its figures; those that are no
            such means, as average precision, are missing.
        """
        name = _name(row)
        if name not in self._units:
            self._units[name] = {}
            if self.folder and osp.exists(self._units_path(row)):
                found: Dict[str, Dict[str, np.ndarray]] = {}
                with np.load(self._units_path(row)) as arrays:
                    for key in arrays.files:
                        figure, _, field = key.rpartition('.')
                        found.setdefault(figure, {})[field] = arrays[key]
                self._units[name] = {k: Units(**v) for k, v in found.items()}
        return self._units[name]

    def _units_path(self, row: Mapping[str, Any]) -> str:
        return osp.join(self.folder, 'per_image', f'{_name(row)}.npz')


def _name(row: Mapping[str, Any]) -> str:
    key = json.dumps([row[name] for name in _KEY]).encode()
    return f'{row["protocol"]}_{hashlib.sha256(key).hexdigest()[:12]}'


def hash_of_weights(model: nn.Module) -> str:
    """SHA-256 of what a model's figures depend on, whatever its file's format.

    Args:
        model (nn.Module): The model.

    Returns:
        str: The hash, in hexadecimal digits.
    """
    digest = hashlib.sha256()
    for name, value in sorted(model.state_dict().items()):
        digest.update(f'{name} {value.dtype} {tuple(value.shape)}'.encode())
        flat = value.detach().cpu().contiguous().reshape(-1)
        digest.update(flat.view(torch.uint8).numpy())
    return digest.hexdigest()


def hash_of_data(files: Sequence[str], images: Iterable[str]) -> str:
    """SHA-256 of annotations, and of names and sizes of images.

    Args:
        files (Sequence[str]): Files of annotations, or folders of them.
        images (Iterable[str]): Image files, of which name and size count.

    Returns:
        str: The hash, in hexadecimal digits.
    """
    digest = hashlib.sha256()
    for place in files:
        inside = sorted(Path(place).glob('*.json*'))
        for path in [place] if osp.isfile(place) else inside:
            with open(path, 'rb') as file:
                for block in iter(partial(file.read, _BLOCK), b''):
                    digest.update(block)
    for path in images:
        digest.update(f'{osp.basename(path)} {os.stat(path).st_size}'.encode())
    return digest.hexdigest()


def software_versions() -> Dict[str, str]:
    """Versions of what figures depend on.

    Returns:
        Dict[str, str]: By package.
    """
    names = ('harmoclip_mm', 'torch', 'torchvision', 'open_clip', 'timm')
    stack = ('mmengine', 'mmcv', 'mmdet', 'mmpretrain', 'PIL', 'numpy')
    found = {'python': platform.python_version()}
    for name in (*names, *stack):
        found[name] = import_module(name).__version__
    return found
