"""LVIS AP where its package is missing or older than the installed NumPy."""

import importlib
from types import SimpleNamespace

import numpy as np
from mmdet.evaluation import LVISMetric

from harmoclip_mm.compat import check_lvis
from harmoclip_mm.registry import METRICS


@METRICS.register_module()
class LVISAPMetric(LVISMetric):
    """mmdet's ``LVISMetric``, usable with the lvis package of PyPI.

    lvis 0.5.3 asks for ``numpy.float``, which NumPy 1.24 removed; its module
    alone is given one.

    Args:
        *args: As of mmdet.
        **kwargs: As of mmdet.

    Raises:
        UsageError: If the package lvis is missing.
    """

    def __init__(self, *args, **kwargs) -> None:
        check_lvis()
        super().__init__(*args, **kwargs)
        module = importlib.import_module('lvis.eval')
        if 'float' not in vars(np) and module.np is np:
            module.np = SimpleNamespace(**vars(np), float=float)
