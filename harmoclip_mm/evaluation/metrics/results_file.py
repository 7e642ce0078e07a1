"""Reading what ``tools/test.py --out`` wrote, without running code of it."""

import os.path as osp
import pickle
from typing import Any, Dict, List

import numpy as np
import torch

from harmoclip_mm import unpickling
from harmoclip_mm.errors import UsageError

from .checks import check_unique

_REMEDY = 'give a file that tools/test.py --out wrote'


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
            records = unpickling.load(file)
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
