"""Resizing of learned position embeddings."""

from typing import Tuple

import torch
import torch.nn.functional as F
from torch import Tensor


def resize_pos_embed(
    pos_embed: Tensor,
    source: Tuple[int, int],
    target: Tuple[int, int],
    num_extra_tokens: int = 1,
) -> Tensor:
    """Resizes a grid of position embeddings as open_clip does.

    Bicubic with antialiasing and without aligned corners
    (open_clip, ``open_clip/model.py``: ``resize_pos_embed``); the embeddings
    of extra tokens are kept. mmpretrain's function of the same name has no
    antialiasing, and so differs when a grid shrinks.

    Args:
        pos_embed (Tensor): Embeddings, shape (1, E + h * w, C).
        source (Tuple[int, int]): Grid (h, w) that they were learned at.
        target (Tuple[int, int]): Grid wanted.
        num_extra_tokens (int): Number E of leading tokens that have no
            place in the grid (CLS). Defaults to 1.

    Returns:
        Tensor: Embeddings, shape (1, E + h' * w', C).
    """
    source, target = tuple(source), tuple(target)
    if source == target:
        return pos_embed
    extra = pos_embed[:, :num_extra_tokens]
    grid = pos_embed[:, num_extra_tokens:].reshape(1, *source, -1)
    # float32: antialiased bicubic is not implemented for half precision on
    # CPUs, and rounding positions buys nothing.
    dtype = grid.dtype
    wide = grid if dtype == torch.float64 else grid.float()
    resized = F.interpolate(
        wide.permute(0, 3, 1, 2),
        size=target,
        mode='bicubic',
        align_corners=False,
        antialias=True,
    )
    resized = resized.permute(0, 2, 3, 1).flatten(1, 2).to(dtype)
    return torch.cat([extra, resized], dim=1)
