"""LVIS, with a remedy where its package is missing."""

from typing import List

from mmdet.datasets import LVISV1Dataset as MMDetLVISV1Dataset

from harmoclip_mm.compat import check_lvis
from harmoclip_mm.registry import DATASETS

__all__ = ['LVISV1Dataset']


@DATASETS.register_module()
class LVISV1Dataset(MMDetLVISV1Dataset):
    """mmdet's LVIS v1, whose error names the package to install.

    Images are found by ``coco_url`` of the annotations, so
    ``data_prefix.img`` is COCO's folder with ``train2017`` and ``val2017``.
    """

    def load_data_list(self) -> List[dict]:
        """Load the annotations.

        Returns:
            list[dict]: The samples, as of mmdet.

        Raises:
            UsageError: If the package lvis is missing.
        """
        check_lvis()
        return super().load_data_list()
