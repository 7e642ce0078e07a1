"""Region features on disk, and the search in them."""

import json
import os
import os.path as osp
import shutil
import time
from typing import Any, Dict, Iterator, List, Tuple

import numpy as np
import torch
from torch import Tensor

from harmoclip_mm.errors import DataError, UsageError
from harmoclip_mm.files import PART

_FORMAT = 1
_CHUNK = 4096  # rows that a core's cache holds
_BLOCK = 64 * _CHUNK  # rows whose scores are held at once
_SPARE = 32  # candidates beyond those asked for


class RegionIndex:
    """L2-normalised features of regions, mapped from a folder.

    ``features.f16`` holds rows of float16, ``boxes.f32`` their image and
    box, ``index.json`` the images and what made the features. Nothing is read
    before it is needed, and processes of a machine share what was.

    Args:
        folder (str): The folder, see :meth:`write`.

    Attributes:
        about (dict): ``images`` (paths), ``dims``, ``regions``, and what
            :meth:`write` was told.
        features (np.ndarray): (N, D) float16, mapped.
        boxes (np.ndarray): (N, 5) float32, mapped: number of the image and
            xyxy in its pixels.

    Raises:
        DataError: If there is no index, or part of one.
    """

    def __init__(self, folder: str) -> None:
        self.folder = folder
        path = osp.join(folder, 'index.json')
        try:
            with open(path, encoding='utf-8') as file:
                self.about: Dict[str, Any] = json.load(file)
            if self.about['format'] != _FORMAT:
                raise ValueError(f'format {self.about["format"]}')
            rows, dims = self.about['regions'], self.about['dims']
            self.features = self._map('features.f16', np.float16, rows, dims)
            self.boxes = self._map('boxes.f32', np.float32, rows, 5)
        except FileNotFoundError as error:
            raise DataError(
                f'{folder} holds no index of regions: build it first'
            ) from error
        except (KeyError, TypeError, ValueError) as error:
            raise DataError(
                f'the index of regions {folder} is damaged ({error}): delete '
                'it and build it again'
            ) from error
        self._halves = None

    def _map(self, name: str, dtype: type, rows: int, dims: int) -> Any:
        path = osp.join(self.folder, name)
        if osp.getsize(path) != rows * dims * np.dtype(dtype).itemsize:
            raise ValueError(f'{name} has not {rows} rows of {dims}')
        if not rows:
            return np.zeros((0, dims), dtype)  # an empty file has no map
        # copy on write: of a read-only array torch makes no tensor in silence
        return np.memmap(path, dtype, 'c', shape=(rows, dims))

    @classmethod
    def write(
        cls,
        folder: str,
        images: List[str],
        rows: Iterator[Tuple[int, np.ndarray, np.ndarray]],
        dims: int,
        **about: Any,
    ) -> 'RegionIndex':
        """Writes an index, as a whole or not at all.

        Args:
            folder (str): The folder to make.
            images (List[str]): Paths of the images.
            rows (Iterator): For an image its number, boxes (n, 4) and
                features (n, D).
            dims (int): Width D of the features.
            **about: What else to keep, as JSON.

        Raises:
            UsageError: If there is something in the folder's place.
        """
        if osp.exists(folder):
            raise UsageError(f'{folder} exists: delete it, or name another')
        part = os.fspath(folder).rstrip('/') + PART
        shutil.rmtree(part, ignore_errors=True)
        os.makedirs(part)
        number = 0
        try:
            with open(osp.join(part, 'features.f16'), 'wb') as features, open(
                osp.join(part, 'boxes.f32'), 'wb'
            ) as boxes:
                for image, own, found in rows:
                    features.write(found.astype(np.float16).tobytes())
                    places = np.insert(own.astype(np.float32), 0, image, 1)
                    boxes.write(places.tobytes())
                    number += len(own)
            about.update(
                format=_FORMAT, dims=dims, regions=number, images=images
            )
            with open(
                osp.join(part, 'index.json'), 'w', encoding='utf-8'
            ) as file:
                json.dump(about, file)
            os.replace(part, folder)
        except BaseException:
            shutil.rmtree(part, ignore_errors=True)
            raise
        return cls(folder)

    @torch.no_grad()
    def search(self, queries: Tensor, topk: int) -> Tuple[Tensor, Tensor]:
        """Finds the rows most like queries, exactly.

        All rows are scored; those near the best are scored again in float32,
        so that half precision decides nothing.

        Args:
            queries (Tensor): L2-normalised, shape (T, D).
            topk (int): Rows wanted, K; fewer if there are fewer.

        Returns:
            Tuple[Tensor, Tensor]: Cosines, best first, and rows, (T, K).
        """
        queries = queries.float().cpu()
        topk = min(topk, len(self.features))
        kept = min(topk + _SPARE, len(self.features))
        best = queries.new_full((len(queries), 0), 0)
        rows = torch.zeros(len(queries), 0, dtype=torch.long)
        for start in range(0, len(self.features), _BLOCK):
            block = self.features[start : start + _BLOCK]
            block = torch.from_numpy(block)
            scores = self._score(block, queries)
            found = scores.topk(min(kept, len(block)), dim=1)
            best = torch.cat([best, found.values.float()], 1)
            rows = torch.cat([rows, found.indices + start], 1)
            best, order = best.topk(min(kept, best.shape[1]), dim=1)
            rows = rows.gather(1, order)
        near = torch.from_numpy(self.features[rows.numpy()]).float()
        exact = (near @ queries[:, :, None])[..., 0]
        best, order = exact.topk(topk, dim=1)
        return best, rows.gather(1, order)

    def _score(self, block: Tensor, queries: Tensor) -> Tensor:
        """Scores (T, n) of a block, whichever way this CPU is faster in:
        those that multiply float16 do, others convert it first."""
        if self._halves is None:
            part = block[: 16 * _CHUNK]  # more than caches hold
            ways = {way: _time(way, part, queries) for way in (_half, _full)}
            self._halves = ways[_half] < ways[_full]
        return (_half if self._halves else _full)(block, queries)


def _half(block: Tensor, queries: Tensor) -> Tensor:
    return (block @ queries.half().t()).t().contiguous()


def _full(block: Tensor, queries: Tensor) -> Tensor:
    parts = [queries @ part.float().t() for part in block.split(_CHUNK)]
    return torch.cat(parts, 1)


def _time(way: Any, block: Tensor, queries: Tensor) -> float:
    """Seconds of the best of three calls; for ever if this torch cannot."""
    seconds = []
    for _ in range(3):
        start = time.perf_counter()
        try:
            way(block, queries)
        except RuntimeError:
            return float('inf')
        seconds.append(time.perf_counter() - start)
    return min(seconds)
