"""LVIS AP where its package is missing or older than the installed NumPy."""

from importlib import import_module
from importlib.util import find_spec
from types import SimpleNamespace
from typing import Dict

import numpy as np
from mmdet.evaluation import LVISMetric

from harmoclip_mm.errors import UsageError
from harmoclip_mm.registry import METRICS


@METRICS.register_module()
class LVISAPMetric(LVISMetric):
    """mmdet's ``LVISMetric``, usable with the lvis package of PyPI.

    lvis 0.5.3 asks for ``numpy.float``, which NumPy 1.24 removed; its module
    alone is given one. Where ``img_ids`` are set, these images alone count, as
    in ``CocoMetric``; mmdet hands them to lvis under a name that it ignores.

    Args:
        *args: As of mmdet.
        **kwargs: As of mmdet.

    Raises:
        UsageError: If the package lvis is missing.
    """

    def __init__(self, *args, **kwargs) -> None:
        if find_spec('lvis') is None:
            raise UsageError(
                'LVIS annotations need the package lvis, which is not '
                'installed: run `pip install lvis`'
            )
        super().__init__(*args, **kwargs)
        module = import_module('lvis.eval')
        if 'float' not in vars(np) and module.np is np:
            module.np = SimpleNamespace(**vars(np), float=float)

    def compute_metrics(self, results: list) -> Dict[str, float]:
        """Compute the figures of mmdet.

        Args:
            results (list): Truth and predictions of each image.

        Returns:
            dict[str, float]: The figures.
        """
        if self.img_ids is not None:
            images = self._lvis_api.imgs
            self._lvis_api.imgs = {x: images[x] for x in self.img_ids}
        return super().compute_metrics(results)
