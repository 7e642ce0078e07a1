"""Activation checkpointing that works under DistributedDataParallel."""

from typing import Any, Callable

import torch
from torch.utils.checkpoint import checkpoint


def run_block(
    block: Callable[..., Any], *args: Any, with_cp: bool = False
) -> Any:
    """Calls the block, recomputing it in the backward if asked.

    Non-reentrant checkpointing is used: the reentrant form runs a second
    backward inside the first, which DistributedDataParallel mistakes for
    parameters being used twice, and needs an input that requires grad.

    Args:
        block (Callable): Module or function.
        *args: Its arguments.
        with_cp (bool): Whether to drop its activations and recompute them in
            the backward. Defaults to False.
    """
    if with_cp and torch.is_grad_enabled():
        return checkpoint(block, *args, use_reentrant=False)
    return block(*args)
