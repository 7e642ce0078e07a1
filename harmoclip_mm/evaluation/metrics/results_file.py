"""Files of a test: its metrics, and its predictions, read without running code
of them."""

import json
import logging
import math
import os.path as osp
import pickle
from typing import Any, Dict, List, Mapping

import numpy as np
from mmengine.dist import master_only
from mmengine.logging import print_log

from harmoclip_mm import unpickling
from harmoclip_mm.errors import UsageError
from harmoclip_mm.files import replacing

from .common import check_unique, to_numpy

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
        ``scores`` (N,) in [0, 1], ``topk_labels`` and ``topk_scores`` (N, K),
        best first, K = 1 where they were not written) as NumPy arrays; other
        keys as they are.

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
    records = [
        _check(record, f'results file {path}, record {n}')
        for n, record in enumerate(records)
    ]
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


def _check(record: Any, where: str) -> Dict[str, Any]:
    """One record with its labels, boxes and scores as arrays."""
    try:
        truth, pred = record['gt_instances'], record['pred_instances']
        if 'candidate_logits' in pred:
            raise UsageError(
                f'{where}: every box has texts of its own to choose among (as '
                'in FG-OVD), and no classes that figures of classes could be '
                'of; tools/test.py --show-dir draws such results'
            )
        truth = {**truth, **_arrays(truth, 'bboxes', 'labels')}
        pred = {**pred, **_arrays(pred, 'labels', 'scores')}
        if 'topk_labels' in pred:
            pred.update(_arrays(pred, 'topk_labels', 'topk_scores'))
            if 'topk_logits' in pred:
                pred.update(_arrays(pred, 'topk_logits'))
        else:
            pred['topk_labels'] = pred['labels'][:, None]
            pred['topk_scores'] = pred['scores'][:, None]
    except (KeyError, TypeError) as error:
        raise UsageError(
            f'{where} holds no boxes and answers ({error!r}); {_REMEDY} for a '
            'config that classifies boxes'
        ) from error
    answers = ('labels', 'scores', 'topk_labels', 'topk_scores')
    sizes = {len(truth['bboxes']), *(len(pred[name]) for name in answers)}
    if sizes != {len(truth['labels'])}:
        raise UsageError(
            f'{where}: {len(pred["labels"])} predictions for '
            f'{len(truth["labels"])} boxes; the file must classify the given '
            'boxes (a detector finds its own)'
        )
    return {**record, 'gt_instances': truth, 'pred_instances': pred}


def _arrays(instances: Dict[str, Any], *names: str) -> Dict[str, np.ndarray]:
    return {name: to_numpy(instances[name]) for name in names}


@master_only
def save_metrics(metrics: Mapping[str, Any], filename: str) -> None:
    """Write metrics as JSON, by rank 0 only, as a whole or not at all.

    JSON has no NaN or infinity: such a figure becomes ``null``, with a
    warning.

    Args:
        metrics (Mapping[str, Any]): Names and numbers.
        filename (str): The file; its folder is made if need be.

    Raises:
        TypeError: If a value is not a number.
    """
    figures = {name: float(value) for name, value in metrics.items()}
    undefined = [n for n, value in figures.items() if not math.isfinite(value)]
    if undefined:
        figures.update(dict.fromkeys(undefined))
        print_log(
            f'Not a finite number, written as null: {", ".join(undefined)}',
            logger='current',
            level=logging.WARNING,
        )
    with replacing(filename) as part, open(part, 'w', encoding='utf-8') as f:
        json.dump(figures, f, indent=2, allow_nan=False)
        f.write('\n')
