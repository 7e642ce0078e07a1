"""Reading what ``tools/test.py --out`` wrote, without running code of it."""

import io
import os.path as osp
import pickle
from typing import Any, Dict, List

import numpy as np
import torch

from harmoclip_mm.errors import UsageError

from .checks import check_unique

_REMEDY = 'give a file that tools/test.py --out wrote'


def _storage_from_bytes(data: bytes) -> Any:
    """``torch.storage._load_from_bytes``, which would unpickle anything."""
    return torch.load(io.BytesIO(data), weights_only=True)


class _PlainUnpickler(pickle.Unpickler):
    """Unpickles dicts, lists, tensors and arrays, and nothing else."""

    REPLACED = {('torch.storage', '_load_from_bytes'): _storage_from_bytes}
    ALLOWED = {
        ('collections', 'OrderedDict'),
        ('_codecs', 'encode'),  # bytes of protocol 2
        ('torch', 'Size'),
        ('torch._utils', '_rebuild_tensor'),
        ('torch._utils', '_rebuild_tensor_v2'),
        ('numpy', 'dtype'),
        ('numpy', 'ndarray'),
    }
    # of numpy 1 and 2, whose core moved
    NUMPY_CORE = {
        'numpy.core.multiarray': ('_reconstruct', 'scalar'),
        'numpy._core.multiarray': ('_reconstruct', 'scalar'),
        'numpy.core.numeric': ('_frombuffer',),
        'numpy._core.numeric': ('_frombuffer',),
    }

    def find_class(self, module: str, name: str) -> Any:
        """Look up a name that the file asks for.

        Raises:
            UnpicklingError: If plain data does not need it.
        """
        if (module, name) in self.REPLACED:
            return self.REPLACED[module, name]
        if name in self.NUMPY_CORE.get(module, ()):
            # the file may be of the other numpy, 1 or 2
            core = 'core' if np.__version__.startswith('1.') else '_core'
            leaf = module.split('.')[-1]
            return super().find_class(f'numpy.{core}.{leaf}', name)
        if (module, name) in self.ALLOWED:
            return super().find_class(module, name)
        raise pickle.UnpicklingError(f'{module}.{name}')


def load_results(path: str) -> List[Dict[str, Any]]:
    """Read the predictions and the ground truth of box classification.

    Args:
        path (str): File that ``tools/test.py --out`` wrote, see
            :class:`DumpRegionResults`.

    Returns:
        list[dict]: One record an image, with ``img_id``, ``run`` (of which
        ``classes`` and their ``groups``) and, row n for box
        n, ``gt_instances`` (``bboxes`` (N, 4) xyxy in px of the original
        image, ``labels`` (N,)) and ``pred_instances`` (``labels`` (N,),
        ``scores`` (N,) in [0, 1], and where they were written
        ``topk_labels`` and ``topk_scores`` (N, K), best first) as NumPy
        arrays; other keys as they are.

    Raises:
        UsageError: If there is no such file, it is damaged, holds objects
            that need code to be run, or holds no such records or those of
            several runs; also if each box had texts of its own instead of
            classes.
    """
    path = osp.expanduser(path)
    if not osp.isfile(path):
        raise UsageError(f'results file {path} does not exist; {_REMEDY}')
    try:
        with open(path, 'rb') as file:
            records = _PlainUnpickler(file).load()
    except pickle.UnpicklingError as error:
        raise UsageError(
            f'results file {path} is damaged, or holds more than predictions '
            f'({error}), which is not read since it may run code; {_REMEDY}'
        ) from error
    except Exception as error:
        # a damaged pickle raises whatever its bytes happen to mean
        raise UsageError(
            f'results file {path} ({osp.getsize(path)} bytes) is damaged or '
            f'incomplete; {_REMEDY}'
        ) from error
    if not isinstance(records, list) or not records:
        found = 'no image' if isinstance(records, list) else 'no list'
        raise UsageError(f'results file {path} holds {found}; {_REMEDY}')
    records = [_check(record, n, path) for n, record in enumerate(records)]
    run = records[0].get('run') or {}
    if not run.get('classes'):
        raise UsageError(
            f'results file {path} does not name its classes; {_REMEDY}'
        )
    if any(each.get('run') != run for each in records):
        raise UsageError(
            f'results file {path} holds results of several runs; {_REMEDY}'
        )
    check_unique([each.get('img_id') for each in records])
    return records


def _check(record: Any, index: int, path: str) -> Dict[str, Any]:
    """One record with its labels, boxes and scores as arrays."""
    if not isinstance(record, dict):
        raise UsageError(
            f'results file {path}: record {index} is no dict but '
            f'{type(record).__name__}; {_REMEDY}'
        )
    image = record.get('img_id', f'number {index}')
    where = f'results file {path}, image {image}'
    checked = dict(record)
    for key, needed in (
        ('gt_instances', ('bboxes', 'labels')),
        ('pred_instances', ('labels', 'scores')),
    ):
        instances = record.get(key)
        missing = [n for n in needed if n not in (instances or {})]
        if missing:
            raise UsageError(
                f'{where}: no {key}.{missing[0]}; {_REMEDY} for a config '
                'that classifies boxes'
            )
        names = (*needed, 'topk_labels', 'topk_scores')
        checked[key] = {
            name: _array(value) if name in names else value
            for name, value in instances.items()
        }
    truth, found = checked['gt_instances'], checked['pred_instances']
    if 'candidate_logits' in found:
        raise UsageError(
            f'{where}: every box has texts of its own to choose among (as in '
            'FG-OVD), and no classes that figures of classes could be of; '
            'tools/test.py --show-dir draws such results'
        )
    sizes = {len(truth['bboxes']), len(truth['labels'])}
    sizes |= {len(found[n]) for n in found if n.startswith('topk')}
    sizes |= {len(found['labels']), len(found['scores'])}
    if len(sizes) > 1:
        raise UsageError(
            f'{where}: {len(found["labels"])} predictions for '
            f'{len(truth["labels"])} boxes; the file must classify the given '
            'boxes (a detector finds its own)'
        )
    return checked


def _array(value: Any) -> np.ndarray:
    if isinstance(value, torch.Tensor):
        value = value.float() if value.is_floating_point() else value
        return value.numpy()
    return np.asarray(value)
