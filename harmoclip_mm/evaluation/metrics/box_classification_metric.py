"""Box classification: how often a given box gets the right class."""

from typing import Any, Dict, List, Optional, Sequence, Union

import numpy as np
from mmengine.evaluator import BaseMetric
from mmengine.logging import MMLogger

from harmoclip_mm.errors import DataError
from harmoclip_mm.registry import METRICS
from harmoclip_mm.text import find_groups

from ..functional import box_classification_accuracy
from .checks import check_unique
from .table import render_table


@METRICS.register_module()
class BoxClassificationMetric(BaseMetric):
    """Top-k accuracy of classifying ground-truth boxes, in percent.

    Keys: ``top{k}`` counts every box once, ``macro_top{k}`` every class that
    has a box once; ``{group}_top{k}`` and ``{group}_macro_top{k}`` count the
    boxes whose true class is in the group, scored against all classes.

    Every sample must hold ``gt_instances.labels`` (N,) and
    ``pred_instances.topk_labels`` (N, K), K >= min(max(topk), classes), row n
    of the predictions answering box n. Of equal ``topk_scores`` (N, K) the
    true class comes last: a tie is never a hit by luck; K > max(topk) lets a
    tie with the next place be seen. Without scores the order counts. One
    result is kept for each image, since mmengine drops the padding of the
    distributed sampler by cutting the results to the length of the data set.

    Args:
        groups (str or dict[str, Sequence[str]], optional): Where the groups
            of classes are named, see :func:`~harmoclip_mm.text.find_groups`.
            Defaults to None: in the data set's metainfo, or in the vocabulary
            of the package that has its classes.
        topk (Sequence[int]): The k to report. Defaults to (1, 5).
        collect_device (str): Where ranks exchange their results, 'cpu' or
            'gpu'. Defaults to 'cpu'.
        prefix (str, optional): Prefix of the keys. Defaults to None:
            'box_cls'.
        collect_dir (str, optional): Folder shared by the ranks for
            ``collect_device='cpu'``. Defaults to None.

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
        collect_device: str = 'cpu',
        prefix: Optional[str] = None,
        collect_dir: Optional[str] = None,
    ) -> None:
        super().__init__(collect_device, prefix, collect_dir)
        self.groups = groups
        self.topk = tuple(sorted(topk))

    def process(self, data_batch: Any, data_samples: Sequence[dict]) -> None:
        """Keep the labels of one batch.

        Args:
            data_batch (Any): Not used.
            data_samples (Sequence[dict]): Samples with ground truth and
                predictions, see the class.
        """
        num_classes = self._num_classes()
        for sample in data_samples:
            self.results.append(self._pack(sample, num_classes))

    def _pack(self, sample: dict, num_classes: int) -> tuple:
        image = sample.get('img_id', sample.get('img_path', '?'))
        pred = sample['pred_instances']
        gt_labels = _array(sample['gt_instances']['labels'])
        topk_labels = pred.get('topk_labels')
        if topk_labels is None:
            topk_labels = pred['labels'][:, None]
        topk_labels = _array(topk_labels)
        topk_scores = pred.get('topk_scores')
        if len(topk_labels) != len(gt_labels):
            raise DataError(
                f'image {image}: {len(topk_labels)} predictions for '
                f'{len(gt_labels)} boxes; box classification needs one for '
                'each ground-truth box, in the same order'
            )
        for name, labels in (('box', gt_labels), ('prediction', topk_labels)):
            outside = labels[(labels < 0) | (labels >= num_classes)]
            if outside.size:
                raise DataError(
                    f'image {image}: a {name} has class {outside[0]}, but '
                    f'the data set has {num_classes} classes (0 to '
                    f'{num_classes - 1})'
                )
        width = min(self.topk[-1], num_classes)
        if not len(gt_labels):  # may come with any K
            topk_labels = np.zeros((0, width))
            topk_scores = None
        if topk_labels.shape[1] < width:
            raise DataError(
                f'image {image}: top-{width} accuracy needs {width} '
                'predicted classes a box (pred_instances.topk_labels), got '
                f'{topk_labels.shape[1]}; lower topk of the metric'
            )
        if topk_scores is None:  # the order counts: no two are equal
            ranking = np.arange(topk_labels.shape[1], 0, -1)
            topk_scores = np.broadcast_to(ranking, topk_labels.shape)
        topk_scores = _array(topk_scores)
        if np.isnan(topk_scores).any():
            raise DataError(
                f'image {image}: a score is not a number (NaN); look for NaN '
                'in the weights of the model'
            )
        kept = width + 1  # one more, for ties with the last place
        return (
            sample.get('img_id'),
            gt_labels.astype(np.int32),
            topk_labels[:, :kept].astype(np.int32),
            topk_scores[:, :kept].astype(np.float32),
        )

    def compute_metrics(self, results: List[tuple]) -> Dict[str, float]:
        """Compute the accuracies and print their table.

        Args:
            results (list[tuple]): Image id, true labels, top-k labels and
                their scores of each image.

        Returns:
            dict[str, float]: The accuracies in percent.
        """
        logger = MMLogger.get_current_instance()
        num_images = len(results)
        check_unique([img_id for img_id, *_ in results])
        results = [each for each in results if len(each[1])]
        if not results:
            raise DataError(
                f'none of the {num_images} images has a ground-truth box: '
                'check that the annotation file holds boxes of the classes '
                'of the data set, and that the test pipeline loads them '
                '(mmdet.LoadAnnotations with with_bbox=True)'
            )
        num_classes = self._num_classes()
        groups = find_groups(self.dataset_meta, self.groups)
        _, gt_labels, topk_labels, topk_scores = zip(*results)
        gt_labels = np.concatenate(gt_labels)
        width = min(labels.shape[1] for labels in topk_labels)
        accuracy = box_classification_accuracy(
            np.concatenate([labels[:, :width] for labels in topk_labels]),
            gt_labels,
            num_classes,
            groups,
            self.topk,
            np.concatenate([scores[:, :width] for scores in topk_scores]),
        )

        columns = [f'{m}top{k}' for m in ('', 'macro_') for k in self.topk]
        counts = np.bincount(gt_labels, minlength=num_classes)
        rows = []
        for name, ids in {'all': range(num_classes), **groups}.items():
            count = counts[list(ids)]
            if not count.any():
                logger.warning(
                    f'no box has a class of group "{name}": it has no accuracy'
                )
                continue
            start = '' if name == 'all' else f'{name}_'
            rows.append(
                [name, f'{(count > 0).sum()}/{len(count)}', count.sum()]
                + [accuracy[f'{start}{column}'] for column in columns]
            )
        header = ['boxes of', 'classes seen', 'boxes', *columns]
        title = f'Box classification, {num_images} images, percent'
        logger.info('\n' + render_table(header, rows, title))
        return accuracy

    def _num_classes(self) -> int:
        classes = (self.dataset_meta or {}).get('classes')
        if not classes:
            raise DataError(
                'the data set names no classes: give it metainfo=dict('
                'classes=...)'
            )
        return len(classes)


def _array(values: Any) -> np.ndarray:
    if hasattr(values, 'cpu'):
        values = values.cpu()
        if values.is_floating_point():
            values = values.float()  # numpy has no bfloat16
        values = values.numpy()
    return np.asarray(values)
