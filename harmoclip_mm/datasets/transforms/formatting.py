"""Packing of a sample for the model."""

from typing import Sequence

import torch
from mmdet.datasets.transforms import PackDetInputs

from harmoclip_mm.registry import TRANSFORMS

__all__ = ['PackRegionTextInputs']


@TRANSFORMS.register_module()
class PackRegionTextInputs(PackDetInputs):
    """mmdet's ``PackDetInputs`` plus the token ids of the texts.

    The result is ``{'inputs': uint8 (3, H, W), 'data_samples':
    DetDataSample}``. The data sample has ``gt_instances`` with ``bboxes``
    (N, 4), px of the network input, and ``labels`` (N,), both empty for an
    image without regions; where the sample was tokenized also
    ``caption_ids`` (C, L), ``phrase_ids``, ``phrase_text_masks`` and
    ``phrase_masks`` (P, L), or ``candidate_ids`` (T, L) with
    ``gt_instances.candidate_mask`` (N, T) and ``gt_instances.subset_ids``
    (N,).

    Args:
        meta_keys (Sequence[str]): Keys that become meta information, where
            present. ``text`` are the class names of a data set with
            ``return_classes=True``.
    """

    TEXT_KEYS = (
        'caption_ids',
        'phrase_ids',
        'phrase_text_masks',
        'phrase_masks',
        'candidate_ids',
    )
    INSTANCE_KEYS = ('candidate_mask', 'subset_ids')

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
            'captions',
            'phrases',
            'text',
            'tokens_positive',
        ),
    ) -> None:
        super().__init__(meta_keys=meta_keys)

    def transform(self, results: dict) -> dict:
        """Pack a sample.

        Args:
            results (dict): A sample at the end of the pipeline.

        Returns:
            dict: ``inputs`` and ``data_samples``.
        """
        # A pipeline without resizing or flip still says so to the model.
        results.setdefault('scale_factor', (1.0, 1.0))
        results.setdefault('flip', False)
        results.setdefault('flip_direction', None)
        packed = super().transform(results)
        data_sample = packed['data_samples']
        if 'bboxes' not in data_sample.gt_instances:
            data_sample.gt_instances.bboxes = torch.zeros((0, 4))
            data_sample.gt_instances.labels = torch.zeros(0, dtype=torch.int64)
        for key in self.TEXT_KEYS:
            if key in results:
                setattr(data_sample, key, results[key])
        for key in self.INSTANCE_KEYS:
            if key in results:
                setattr(data_sample.gt_instances, key, results[key])
        return packed
