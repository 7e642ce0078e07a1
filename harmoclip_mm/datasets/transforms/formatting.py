"""Packing of a sample for the model."""

from typing import Sequence

import torch
from mmdet.datasets.transforms import PackDetInputs

from harmoclip_mm.registry import TRANSFORMS

from ..counters import SharedCounters
from .regions import REGION_FIELDS


@TRANSFORMS.register_module()
class PackRegionTextInputs(PackDetInputs):
    """mmdet's ``PackDetInputs`` plus what other transforms made of texts.

    The result is ``{'inputs': uint8 (3, H, W), 'data_samples':
    DetDataSample}``. The data sample has ``gt_instances`` with ``bboxes``
    (N, 4), px of the network input, and ``labels`` (N,), both empty for an
    image without regions, and what else there is of ``REGION_FIELDS``. Every
    tensor among the results, such as the ``caption_ids`` that a transform
    made, becomes a field of the data sample under its own name.

    Boxes that are to be ignored, COCO's crowds, become ``ignored_instances``,
    as in mmdet, and are counted.

    Args:
        meta_keys (Sequence[str]): Keys that become meta information, where
            present. ``text`` is the caption, or the class names of a data
            set with ``return_classes=True``.
    """

    def __init__(
        self,
        meta_keys: Sequence[str] = (
            'img_id',
            'img_path',
            'ori_shape',
            'img_shape',
            'scale_factor',
            'flip',
            'flip_direction',
            'text',
            'captions',
            'phrases',
            'source',
        ),
    ) -> None:
        super().__init__(meta_keys=meta_keys)
        self.mapping_table = {
            key: name for key, name in REGION_FIELDS.items() if name
        }
        self.counters = SharedCounters(ignored_boxes='boxes of crowds ignored')

    def transform(self, results: dict) -> dict:
        """Pack a sample."""
        # A pipeline without resizing or flip still says so to the model.
        results.setdefault('scale_factor', (1.0, 1.0))
        results.setdefault('flip', False)
        results.setdefault('flip_direction', None)
        if 'gt_bboxes' not in results:  # nor what has a row for each of them
            results.pop('gt_scores', None)
        flags = results.get('gt_ignore_flags')
        if flags is not None and 'gt_bboxes' in results:
            self.counters.add('ignored_boxes', int(sum(flags)))
        packed = super().transform(results)
        data_sample = packed['data_samples']
        if 'bboxes' not in data_sample.gt_instances:
            data_sample.gt_instances.bboxes = torch.zeros((0, 4))
            data_sample.gt_instances.labels = torch.zeros(0, dtype=torch.int64)
        for key, value in results.items():
            if isinstance(value, torch.Tensor) and key not in REGION_FIELDS:
                setattr(data_sample, key, value)
        return packed
