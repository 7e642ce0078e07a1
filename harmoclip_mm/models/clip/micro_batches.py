"""The gradient of a large batch in the memory of a small one."""

from typing import Callable, Sequence, Set

import torch
from mmdet.structures import SampleList
from torch import Tensor

from ..layers import run_block
from ..utils import CLIPFeatures

Extract = Callable[[Tensor, SampleList, Set[str]], CLIPFeatures]


def extract_in_micro_batches(
    extract: Extract,
    inputs: Tensor,
    data_samples: SampleList,
    needs: Set[str],
    size: int,
) -> CLIPFeatures:
    """Extracts the features of a batch, keeping activations of a part of it.

    GradCache (arXiv 2101.06983): a contrastive loss couples the images of a
    batch through their embeddings alone. So the towers run over micro-batches
    that keep nothing but embeddings, the heads see the embeddings of all, and
    the backward runs the towers once more, one micro-batch at a time. Here
    checkpointing does it inside one backward: heads, optimiser wrapper and
    ``DistributedDataParallel`` notice nothing. Random numbers (stochastic
    depth) are the same in both runs.

    The last micro-batch is kept: the backward starts with it.

    Args:
        extract (Callable): ``HarmoCLIP.extract_features``.
        inputs (Tensor): Normalised images, shape (B, 3, H, W).
        data_samples (SampleList): Their samples.
        needs (Set[str]): Fields of ``CLIPFeatures`` wanted.
        size (int): Images of a micro-batch, at least 1.

    Returns:
        CLIPFeatures: What ``extract(inputs, data_samples, needs)`` returns.
    """
    starts = range(0, len(inputs), size)
    return concatenate(
        [
            run_block(
                extract,
                inputs[start : start + size],
                data_samples[start : start + size],
                needs,
                with_cp=start != starts[-1],
            )
            for start in starts
        ]
    )


def concatenate(parts: Sequence[CLIPFeatures]) -> CLIPFeatures:
    """Features of consecutive parts of a batch as those of the batch."""
    if len(parts) == 1:
        return parts[0]
    rows = {
        name: torch.cat([getattr(part, name) for part in parts])
        for name, value in parts[0]._asdict().items()
        if value is not None and name not in ('scale', 'bias')
    }
    return parts[0]._replace(**rows)
