"""Rotary position embeddings of EVA-02."""

from typing import Optional, Tuple

import torch
from torch import Tensor


def rotary_angles(
    grid: Tuple[int, int],
    head_dims: int,
    ref_side: int = 16,
    theta: float = 10000.0,
    like: Optional[Tensor] = None,
) -> Tuple[Tensor, Tensor]:
    """Cosines and sines of the axial rotary angles of a grid of patches.

    Half of a head's channel pairs turn with the row, half with the column.
    Pair i of a half with n = C / 4 pairs turns by p * theta^(-i / n), where
    the position p runs over [0, ref_side) whatever the size of the grid:
    another input size reads the same angles more finely or more coarsely
    (RoFormer, arXiv 2104.09864, equation 15; two axes and the scaling as in
    EVA-02, arXiv 2303.11331, section 2.1, and its released code).

    Args:
        grid (Tuple[int, int]): Rows and columns (h, w) of patches.
        head_dims (int): Channels C of a head, a multiple of 4.
        ref_side (int): Side of the grid that positions are scaled to.
            Defaults to 16, the 224 / 14 of EVA-02's pre-training.
        theta (float): Base of the frequencies. Defaults to 10000.
        like (Tensor, optional): Tensor whose device is used, and whose dtype
            if it is float64. Angles are float32 otherwise: half precision
            cannot tell neighbouring positions apart.

    Returns:
        Tuple[Tensor, Tensor]: Cosines and sines, each (h * w, C / 2).
    """
    device, dtype = None, torch.float32
    if like is not None:
        device = like.device
        dtype = torch.float64 if like.dtype == torch.float64 else dtype
    pairs = head_dims // 4
    bands = torch.arange(pairs, device=device, dtype=dtype) / pairs
    bands = 1.0 / theta**bands
    rows, columns = (
        torch.arange(side, device=device, dtype=dtype) / side * ref_side
        for side in grid
    )
    angles = torch.cat(
        [
            (rows[:, None] * bands)[:, None].expand(*grid, pairs),
            (columns[:, None] * bands)[None].expand(*grid, pairs),
        ],
        dim=-1,
    ).flatten(0, 1)
    return angles.cos(), angles.sin()


def rotate_patches(
    x: Tensor, cos: Tensor, sin: Tensor, num_extra_tokens: int = 1
) -> Tensor:
    """Turns neighbouring channel pairs of the patch tokens.

    Args:
        x (Tensor): Queries or keys, shape (B, heads, E + N, C).
        cos (Tensor): Cosines of :func:`rotary_angles`, shape (N, C / 2).
        sin (Tensor): Sines of the same.
        num_extra_tokens (int): Number E of leading tokens that have no place
            in the grid (CLS) and stay as they are. Defaults to 1.

    Returns:
        Tensor: Turned tokens, shape and dtype of ``x``.
    """
    extra = x[:, :, :num_extra_tokens]
    pairs = x[:, :, num_extra_tokens:].unflatten(-1, (-1, 2))
    even, odd = pairs.unbind(-1)
    turned = torch.stack(
        (even * cos - odd * sin, odd * cos + even * sin), dim=-1
    )
    return torch.cat((extra, turned.flatten(-2).to(x.dtype)), dim=2)
