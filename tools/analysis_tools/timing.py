"""Timing of code, shared by the benchmarks."""

import statistics
import time
from typing import Callable

import torch


def measure(
    function: Callable[[], object], repeats: int = 5, warmup: int = 1
) -> float:
    """Median time of a call.

    The median is not moved by the few calls that other programs delay. Work
    queued on a GPU is waited for.

    Args:
        function (Callable): What to time.
        repeats (int): Timed calls, at least 1. Defaults to 5.
        warmup (int): Calls before them that are not timed, for caches and
            the choice of kernels. Defaults to 1.

    Returns:
        float: Seconds.

    Raises:
        ValueError: If ``repeats`` is below 1.
    """
    if repeats < 1:
        raise ValueError(f'repeats must be at least 1, not {repeats}')
    for _ in range(warmup):
        function()
    seconds = []
    for _ in range(repeats):
        wait()
        start = time.perf_counter()
        function()
        wait()
        seconds.append(time.perf_counter() - start)
    return statistics.median(seconds)


def wait() -> None:
    """Wait until the work queued on a GPU is done; nothing without one."""
    if torch.cuda.is_available():
        torch.cuda.synchronize()
