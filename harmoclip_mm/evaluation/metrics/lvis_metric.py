"""LVIS AP where its package is missing or older than the installed NumPy."""

from contextlib import contextmanager
from typing import Dict, Iterator

import numpy as np
from mmdet.evaluation import LVISMetric as MMDetLVISMetric

from harmoclip_mm.compat import check_lvis
from harmoclip_mm.registry import METRICS


@METRICS.register_module()
class LVISMetric(MMDetLVISMetric):
    """mmdet's ``LVISMetric``, usable with the lvis package of PyPI.

    lvis 0.5.3 asks for ``numpy.float``, which NumPy 1.24 removed.

    Args:
        *args: As of mmdet.
        **kwargs: As of mmdet.

    Raises:
        UsageError: If the package lvis is missing.
    """

    def __init__(self, *args, **kwargs) -> None:
        check_lvis()
        super().__init__(*args, **kwargs)

    def compute_metrics(self, results: list) -> Dict[str, float]:
        """Compute AP, also of rare, common and frequent classes.

        Args:
            results (list): What ``process`` kept of each image.

        Returns:
            dict[str, float]: ``bbox_AP``, ``bbox_APr``, ``bbox_APc``,
            ``bbox_APf`` and others, in [0, 1].
        """
        with _numpy_float():
            return super().compute_metrics(results)


@contextmanager
def _numpy_float() -> Iterator[None]:
    """Gives ``numpy.float`` back for a while, where it is gone."""
    if 'float' in np.__dict__ or hasattr(np, 'float'):
        yield
        return
    np.float = float
    try:
        yield
    finally:
        del np.float
