"""What the figures of any metric are made of, for intervals."""

import os.path as osp
import tempfile
from functools import singledispatch
from typing import Any, Dict, List, Sequence, Tuple, Union

import numpy as np
import torch
from mmdet.datasets.api_wrappers import COCOeval
from mmdet.evaluation import (
    CocoMetric,
    LVISMetric,
    OVCocoMetric,
    RefExpMetric,
)
from mmdet.evaluation.functional import bbox_overlaps
from mmengine.evaluator import BaseMetric
from mmpretrain.evaluation import Accuracy

from ..functional import Detections, Units


@singledispatch
def find_units(
    metric: BaseMetric, results: List[Any]
) -> Dict[str, Union[Units, Detections]]:
    """What the figures of a metric are made of.

    Args:
        metric (BaseMetric): One of ours, which keep it as ``units``, or of
            mmdet's and mmpretrain's that the protocols use.
        results (list): What its ``compute_metrics`` was last given.

    Returns:
        dict[str, Units | Detections]: By the keys of its figures, as far as
        it is known.
    """
    return getattr(metric, 'units', {})


@find_units.register
def _of_images(metric: Accuracy, results: List[dict]) -> Dict[str, Units]:
    scores = torch.stack([each['pred_score'] for each in results])
    labels = torch.cat([each['gt_label'] for each in results])
    # of equal scores those that mmpretrain takes
    hits = scores.topk(max(metric.topk)).indices == labels[:, None]
    images = np.arange(len(results))
    return {
        f'top{k}': Units(images, hits[:, :k].any(dim=1).numpy())
        for k in metric.topk
    }


@find_units.register
def _of_expressions(
    metric: RefExpMetric, results: List[dict]
) -> Dict[str, Units]:
    images, names, hits = [], [], []
    for each in results:
        info = metric.coco.loadImgs(each['img_id'])[0]
        (truth,) = metric.coco.imgToAnns[each['img_id']]
        x, y, width, height = truth['bbox']
        box = np.array([[x, y, x + width, y + height]])
        right = bbox_overlaps(each['bboxes'], box)[:, 0] >= metric.iou_thrs
        images.append(info['file_name'])  # which has several expressions
        names.append(info['dataset_name'])
        hits.append([right[:k].any() for k in metric.topk])
    _, images = np.unique(images, return_inverse=True)
    names, hits = np.array(names), np.array(hits)
    return {
        f'{name}_precision@{k}': Units(
            images[names == name], hits[names == name, column]
        )
        for name in set(names)
        for column, k in enumerate(metric.topk)
    }


@find_units.register
def _of_coco(metric: CocoMetric, results: list) -> Dict[str, Detections]:
    with tempfile.TemporaryDirectory() as folder:
        found = metric._coco_api.loadRes(_write(metric, results, folder))
    judge = COCOeval(metric._coco_api, found, 'bbox')
    judge.params.catIds, judge.params.imgIds = metric.cat_ids, metric.img_ids
    judge.params.iouThrs = metric.iou_thrs
    judge._prepare()
    parts = {}
    for pair in sorted({*judge._gts, *judge._dts}):
        judge.ious[pair] = judge.computeIoU(*pair)
        parts[pair] = judge.evaluateImg(
            *pair, judge.params.areaRng[0], metric.proposal_nums[-1]
        )
    keys = 'dtScores', 'dtMatches', 'dtIgnore', 'gtIgnore'
    every = _detections(parts, keys, metric.img_ids)
    at_50 = every.select(threshold=slice(1))
    units = {'bbox_mAP': every, 'bbox_mAP_50': at_50}
    if isinstance(metric, OVCocoMetric):
        for name in ('base', 'novel'):
            kinds = getattr(metric, f'{name}_cat_ids')
            units[f'{name}_ap'] = every.select(kinds)
            units[f'{name}_ap50'] = at_50.select(kinds)
    return units


@find_units.register
def _of_lvis(metric: LVISMetric, results: list) -> Dict[str, Detections]:
    from lvis import LVISEval, LVISResults

    truth = metric._lvis_api
    with tempfile.TemporaryDirectory() as folder:
        found = LVISResults(truth, _write(metric, results, folder))
    judge = LVISEval(truth, found, 'bbox')
    judge._prepare()
    parts = {}
    for pair in sorted({*judge._gts, *judge._dts}):
        judge.ious[pair] = judge.compute_iou(*pair)
        parts[pair] = judge.evaluate_img(*pair, judge.params.area_rng[0])
    keys = 'dt_scores', 'dt_matches', 'dt_ignore', 'gt_ignore'
    every = _detections(parts, keys, judge.params.img_ids)
    units = {'bbox_AP': every, 'bbox_AP50': every.select(threshold=slice(1))}
    for group in 'rcf':
        kinds = [
            kind
            for kind, each in truth.cats.items()
            if each['frequency'] == group
        ]
        units[f'bbox_AP{group}'] = every.select(kinds)
    return units


def _write(metric: BaseMetric, results: list, folder: str) -> str:
    """The detections as a file of COCO's results."""
    _, found = zip(*results)
    return metric.results2json(found, osp.join(folder, 'results'))['bbox']


def _detections(
    parts: Dict[Tuple[int, int], dict], keys: Sequence[str], images: List[int]
) -> Detections:
    """Matches of all pairs of image and class."""
    numbers = {image: number for number, image in enumerate(images)}
    columns: List[list] = [[] for _ in range(7)]
    for (image, kind), part in parts.items():
        scores, matches, ignored, unasked = (np.array(part[x]) for x in keys)
        ignored = ignored.astype(bool)
        right = (matches > 0) & ~ignored
        number, count = numbers[image], int((unasked == 0).sum())
        for column, each in zip(
            columns,
            (
                np.full(len(scores), number),
                np.full(len(scores), kind),
                scores,
                right.T,
                ~ignored.T,
                np.full(count, number),
                np.full(count, kind),
            ),
        ):
            column.append(each)
    return Detections(*map(np.concatenate, columns), len(numbers))
