"""Box classification: how often a given box gets the right class."""

from typing import Any, Dict, List, Optional, Sequence, Tuple, Union

import numpy as np
from mmengine.evaluator import BaseMetric
from mmengine.logging import MMLogger

from harmoclip_mm.errors import DataError
from harmoclip_mm.registry import METRICS
from harmoclip_mm.text import find_groups

from ..functional import answer_ranks, box_classification
from .common import check_unique, log_table, to_numpy


@METRICS.register_module()
class BoxClassificationMetric(BaseMetric):
    """Top-k accuracy of classifying ground-truth boxes, in percent.

    Keys: ``top{k}`` counts every box once, ``macro_top{k}`` every class that
    has a box once; ``{group}_top{k}`` and ``{group}_macro_top{k}`` count the
    boxes whose true class is in the group, scored against all classes.

    Every sample must hold ``gt_instances.labels`` (N,) and
    ``pred_instances.topk_labels`` (N, K), K >= min(max(topk), classes), row n
    of the predictions answering box n. Of equal ``topk_logits``, or else
    ``topk_scores``, (N, K) the true class comes last: a tie is never a hit by
    luck; K > max(topk) lets a tie with the next place be seen. Without scores
    the order counts. One
    result is kept for each image, since mmengine drops the padding of the
    distributed sampler by cutting the results to the length of the data set.

    Args:
        groups (str or dict[str, Sequence[str]], optional): Where the groups
            of classes are named, see :func:`~harmoclip_mm.text.find_groups`.
            Defaults to None: in the data set's metainfo, or in the vocabulary
            of the package that has its classes.
        topk (Sequence[int]): The k to report. Defaults to (1, 5).
        **kwargs: As of mmengine's ``BaseMetric``.

    Raises:
        DataError: If the data set names no classes, a label is outside
            them, a score is not a number, predictions and boxes disagree in
            number, two samples are the same image, or there is no box at
            all.
    """

    default_prefix = 'box_cls'

    def __init__(
        self,
        groups: Optional[Union[str, Dict[str, Sequence[str]]]] = None,
        topk: Sequence[int] = (1, 5),
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.groups = groups
        self.topk = tuple(sorted(topk))

    def process(self, data_batch: Any, data_samples: Sequence[dict]) -> None:
        """Keep the labels and ranks of one batch."""
        for sample in data_samples:
            try:
                result = self._rank(sample)
            except ValueError as error:
                image = sample.get('img_id', sample.get('img_path', '?'))
                raise DataError(f'image {image}: {error}') from error
            self.results.append((sample.get('img_id'), *result))

    def _rank(self, sample: dict) -> Tuple[np.ndarray, np.ndarray]:
        """True classes of the boxes and the ranks that the model gave."""
        pred, total = sample['pred_instances'], self._num_classes()
        labels = to_numpy(sample['gt_instances']['labels']).astype(np.int32)
        if not len(labels):
            return labels, labels
        topk_labels = pred.get('topk_labels')
        if topk_labels is None:
            topk_labels = pred['labels'][:, None]
        topk_labels = to_numpy(topk_labels)
        if len(topk_labels) != len(labels):
            raise ValueError(
                f'{len(topk_labels)} predictions for {len(labels)} boxes; box '
                'classification needs one for each ground-truth box, in the '
                'same order'
            )
        for name, found in (('box', labels), ('prediction', topk_labels)):
            outside = found[(found < 0) | (found >= total)]
            if outside.size:
                raise ValueError(
                    f'a {name} has class {outside[0]}, but the data set has '
                    f'{total} classes (0 to {total - 1})'
                )
        width, needed = topk_labels.shape[1], min(self.topk[-1], total)
        if width < needed:
            raise ValueError(
                f'top-{needed} accuracy needs {needed} predicted classes a '
                f'box (pred_instances.topk_labels), got {width}; lower topk '
                'of the metric'
            )
        scores = pred.get('topk_logits', pred.get('topk_scores'))
        scores = -np.arange(width) if scores is None else to_numpy(scores)
        ranks = answer_ranks(scores, topk_labels == labels[:, None])
        return labels, ranks.astype(np.int32)

    def compute_metrics(self, results: List[tuple]) -> Dict[str, float]:
        """Compute the accuracies and print their table.

        Args:
            results (list[tuple]): Image id, true labels and their ranks of
                each image.
        """
        ids, labels, ranks = zip(*results)
        check_unique(ids)
        images = np.repeat(np.arange(len(ids)), [len(each) for each in labels])
        labels, ranks = np.concatenate(labels), np.concatenate(ranks)
        if not len(labels):
            raise DataError(
                f'none of the {len(ids)} images has a ground-truth box: '
                'check that the annotation file holds boxes of the classes '
                'of the data set, and that the test pipeline loads them '
                '(mmdet.LoadAnnotations with with_bbox=True)'
            )
        groups = find_groups(self.dataset_meta, self.groups)
        self.units = box_classification(
            images, labels, ranks, groups, self.topk
        )
        accuracy = {key: each.figure for key, each in self.units.items()}
        columns = [f'{m}top{k}' for m in ('', 'macro_') for k in self.topk]
        rows, classes = [], dict(all=range(self._num_classes()), **groups)
        for name, own in classes.items():
            start = '' if name == 'all' else f'{name}_'
            figures = [accuracy.get(start + column) for column in columns]
            if figures[0] is None:
                MMLogger.get_current_instance().warning(
                    f'no box has a class of group "{name}": it has no accuracy'
                )
                continue
            boxes = self.units[start + columns[-1]].kinds
            seen = f'{len(np.unique(boxes))}/{len(own)}'
            rows.append([name, seen, len(boxes), *figures])
        header = ['boxes of', 'classes seen', 'boxes', *columns]
        title = f'Box classification, {len(ids)} images, percent'
        log_table(title, header, rows)
        return accuracy

    def _num_classes(self) -> int:
        classes = (self.dataset_meta or {}).get('classes')
        if not classes:
            raise DataError(
                'the data set names no classes: give it metainfo=dict('
                'classes=...)'
            )
        return len(classes)
