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
from mmengine.dist import get_rank

from harmoclip_mm.errors import DataError
from harmoclip_mm.evaluation.functional import bootstrap
from harmoclip_mm.files import replacing
from harmoclip_mm.models import HarmoCLIP

# What makes two measurements the same one.
_KEY = ('protocol', 'checkpoint_hash', 'data_hash', 'limit', 'amp')
_BLOCK = 1 << 20


class Results:
    """Rows of figures, in memory and, if there is a folder, in
    ``results.jsonl`` there.

    Args:
        folder (str, optional): The folder, into which the first of several
            processes writes. Defaults to None: memory alone.

    Attributes:
        rows (List[dict]): The rows, oldest first.

    Raises:
        DataError: If a line of the file is no row.
    """

    def __init__(self, folder: Optional[str] = None) -> None:
        self.folder = folder
        self.rows: List[Dict[str, Any]] = []
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

    def add(self, row: Mapping[str, Any], samples: Mapping[str, Any]) -> None:
        """Keep a row, and its figures as a bootstrap draws them anew.

        Args:
            row (Mapping[str, Any]): The row.
            samples (Mapping[str, Units | Detections]): What figures are made
                of, by their keys.
        """
        self.rows.append(dict(row))
        if self.folder is None or get_rank() != 0:
            return
        if samples:
            draws = {key: bootstrap(each) for key, each in samples.items()}
            with replacing(self._file(row)) as part, open(part, 'wb') as file:
                np.savez_compressed(file, **draws)
        lines = [json.dumps(each) + '\n' for each in self.rows]
        with replacing(self.path) as part:
            Path(part).write_text(''.join(lines), encoding='utf-8')

    def draws(self, row: Mapping[str, Any]) -> Dict[str, np.ndarray]:
        """What a bootstrap made of the figures of a row.

        Args:
            row (Mapping[str, Any]): One of :attr:`rows`.

        Returns:
            Dict[str, np.ndarray]: Draws in percent, (1000,), by the keys of
            its figures; those that nothing is kept of are missing.
        """
        if self.folder is None or not osp.exists(self._file(row)):
            return {}
        with np.load(self._file(row)) as arrays:
            return dict(arrays)

    def _file(self, row: Mapping[str, Any]) -> str:
        key = json.dumps([row[name] for name in _KEY]).encode()
        name = f'{row["protocol"]}_{hashlib.sha256(key).hexdigest()[:12]}.npz'
        return osp.join(self.folder, 'bootstrap', name)


def hash_of_weights(model: HarmoCLIP) -> str:
    """SHA-256 of what a model's figures depend on, whatever its file's format:
    its weights, its CLIP, and how its dense map is made of them.

    Args:
        model (HarmoCLIP): The model.

    Returns:
        str: The hash, in hexadecimal digits.
    """
    spec, tower = model.spec, model.backbone
    settings = [spec.model_cfg, spec.preprocess_cfg, tower.img_size]
    settings += [tower.dense_mode, tower.window_size]
    settings += [sorted(tower.global_indices) if tower.window_size else None]
    text = json.dumps(settings, sort_keys=True, default=dict)
    digest = hashlib.sha256(text.encode())
    for name, value in sorted(model.state_dict().items()):
        digest.update(f'{name} {value.dtype} {tuple(value.shape)}'.encode())
        flat = value.detach().cpu().contiguous().reshape(-1)
        digest.update(flat.view(torch.uint8).numpy())
    return digest.hexdigest()


def hash_of_data(
    files: Sequence[str], images: Iterable[str], settings: str
) -> str:
    """SHA-256 of annotations, of names and sizes of images, and of what a
    protocol makes of them.

    Args:
        files (Sequence[str]): Files of annotations, or folders of them.
        images (Iterable[str]): Image files, maps and tars, whose name and size
            count, and images in tars, of which the name does.
        settings (str): What the config of the protocol says.

    Returns:
        str: The hash, in hexadecimal digits.
    """
    digest = hashlib.sha256(settings.encode())
    for place in files:
        inside = sorted(Path(place).glob('*.json*'))
        for path in [place] if osp.isfile(place) else inside:
            with open(path, 'rb') as file:
                for block in iter(partial(file.read, _BLOCK), b''):
                    digest.update(block)
    for path in images:
        size = os.stat(path).st_size if osp.isfile(path) else 'in a tar'
        digest.update(f'{osp.basename(path)} {size}'.encode())
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
