"""Weights between two checkpoints."""

from typing import Dict, Mapping

import torch
from torch import Tensor


def blend_state_dicts(
    initial: Mapping[str, Tensor],
    finetuned: Mapping[str, Tensor],
    alphas: Mapping[str, float],
) -> Dict[str, Tensor]:
    """Blends the weights of two models of one architecture.

    Linear in the weights, as CLIPSelf (arXiv 2310.01403) does after training
    and WiSE-FT (arXiv 2109.01903) proposes.

    Args:
        initial (Mapping[str, Tensor]): Weights before the training.
        finetuned (Mapping[str, Tensor]): Weights after it.
        alphas (Mapping[str, float]): Share of ``finetuned`` by prefix of the
            names; names with none of the prefixes are taken from it whole.

    Returns:
        Dict[str, Tensor]: alpha * finetuned + (1 - alpha) * initial, in the
        precision of ``finetuned``; exactly one of the two at 0 and 1.
    """
    blended = {}
    for name, new in finetuned.items():
        alpha = next(
            (a for part, a in alphas.items() if name.startswith(part)), 1.0
        )
        if alpha == 1:
            blended[name] = new.clone()
        else:
            mixed = torch.lerp(initial[name].double(), new.double(), alpha)
            blended[name] = mixed.to(new.dtype)
    return blended
