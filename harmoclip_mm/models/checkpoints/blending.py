"""Weights between two checkpoints."""

from typing import Dict, Mapping

from torch import Tensor

from harmoclip_mm.errors import CheckpointError


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

    Raises:
        CheckpointError: If names or shapes differ.
    """
    blended = {}
    for name, new in finetuned.items():
        alpha = next(
            (a for part, a in alphas.items() if name.startswith(part)), 1.0
        )
        old = initial.get(name)
        if alpha == 1:
            blended[name] = new.clone()
            continue
        if old is None or old.shape != new.shape:
            shape = 'is missing' if old is None else f'is {tuple(old.shape)}'
            raise CheckpointError(
                f'only checkpoints of one architecture can be blended: {name}'
                f' {shape} in the initial one and {tuple(new.shape)} in the '
                'fine-tuned one.'
            )
        mixed = alpha * new.double() + (1 - alpha) * old.double()
        blended[name] = mixed.to(new.dtype)
    return blended
