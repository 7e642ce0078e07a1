"""Floating point operations, counted while they run."""

from typing import Any

import torch
from torch.utils.flop_counter import FlopCounterMode, sdpa_flop


def _attention(*shapes: Any, **kwargs: Any) -> int:
    return sdpa_flop(*shapes[:3])


def _attention_backward(grad: Any, *shapes: Any, **kwargs: Any) -> int:
    """Twice the forward: of the model, without the scores computed anew."""
    return 2 * sdpa_flop(*shapes[:3])


def _mapping() -> dict:
    """Formulas that torch lacks (attention on the CPU) or counts otherwise."""
    found = {}
    for kind in ('flash_attention', 'efficient_attention', 'cudnn_attention'):
        for end in ('', '_for_cpu'):
            name = f'_scaled_dot_product_{kind}{end}'
            # which of them exist depends on torch's version
            for suffix, formula in (
                ('', _attention),
                ('_backward', _attention_backward),
            ):
                operator = getattr(torch.ops.aten, name + suffix, None)
                if operator is not None:
                    found[operator] = formula
    return found


def count_operations() -> FlopCounterMode:
    """Counter of the operations of a model.

    torch's own, which knows matrix products and convolutions, and counts
    attention on a GPU alone: at 224 px that leaves out 4 % of a ViT-B/16.
    Attention with a causal mask counts in full, and what a backward computes
    a second time inside of an attention does not count.

    Returns:
        FlopCounterMode: A context; ``get_total_flops()`` tells the number,
        a multiplication and an addition being two.
    """
    return FlopCounterMode(display=False, custom_mapping=_mapping())
