"""Attention within windows of the grid of patches."""

from typing import Iterator, Tuple

import torch
import torch.nn.functional as F
from torch import Tensor


def window_attention(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    grid: Tuple[int, int],
    window_size: int,
    prefix: int = 1,
) -> Tensor:
    """Lets each patch attend to its window and to CLS, and CLS to all.

    Windows of ``window_size`` x ``window_size`` patches tile the grid from
    its upper left corner, as in ViTDet (arXiv 2203.16527, section 3). Unlike
    there, where CLS is dropped and the grid is padded by zeros that take part
    in the softmax, CLS stays, and what is left of the grid at the right and
    at the bottom makes smaller windows: the result is that of padding to
    whole windows and masking the padding, without the padding's cost and
    without a mask, which the fastest kernels do not take.

    Args:
        query (Tensor): Queries, CLS (or whatever the prefix is) first, shape
            (B, heads, prefix + h * w, C), positions applied.
        key (Tensor): Keys, same shape.
        value (Tensor): Values, same shape.
        grid (Tuple[int, int]): Rows and columns (h, w) of patches.
        window_size (int): Patches per side of a window, at least 1. A window
            as large as the grid gives full attention.
        prefix (int): Tokens before the patches; 0 of them is legal.
            Defaults to 1, CLS.

    Returns:
        Tensor: Mixed values, same shape, contiguous.
    """
    attend = F.scaled_dot_product_attention
    if window_size >= max(grid):
        return attend(query, key, value)
    maps = [x[:, :, prefix:].unflatten(2, grid) for x in (query, key, value)]
    first = [x[:, :, :prefix] for x in (query, key, value)]
    bands = []
    for rows, height in _bands(grid[0], window_size):
        pieces = []
        for columns, width in _bands(grid[1], window_size):
            side = (height, width)
            queries, keys, values = (
                _split(x[:, :, rows, columns], side) for x in maps
            )
            windows = len(queries) // len(query)
            keys = _with_prefix(first[1], keys, windows)
            values = _with_prefix(first[2], values, windows)
            mixed = attend(queries, keys, values)
            size = (rows.stop - rows.start, columns.stop - columns.start)
            pieces.append(_join(mixed, side, size))
        bands.append(torch.cat(pieces, dim=3))
    patches = torch.cat(bands, dim=2).flatten(2, 3)
    if not prefix:
        return patches
    return torch.cat([attend(first[0], key, value), patches], dim=2)


def spread_evenly(num_layers: int) -> Tuple[int, ...]:
    """Last blocks of four equal subsets of the blocks.

    Those that ViTDet keeps global (arXiv 2203.16527, section 3: blocks 2, 5,
    8 and 11 of 12).

    Args:
        num_layers (int): Number of blocks.

    Returns:
        Tuple[int, ...]: Indices from 0, ascending; all where there are no
        more than four blocks, the last one always.
    """
    subsets = min(4, num_layers)
    return tuple(
        num_layers * (subset + 1) // subsets - 1 for subset in range(subsets)
    )


def _bands(length: int, window_size: int) -> Iterator[Tuple[slice, int]]:
    """The part of an axis that whole windows cover, and the rest.

    Yields each part that is not empty, with the side of its windows.
    """
    whole = length // window_size * window_size
    if whole:
        yield slice(0, whole), window_size
    if whole < length:
        yield slice(whole, length), length - whole


def _split(x: Tensor, side: Tuple[int, int]) -> Tensor:
    """(B, heads, h, w, C) to (B * windows, heads, patches of one, C)."""
    batch, heads, height, width, dims = x.shape
    rows, columns = height // side[0], width // side[1]
    x = x.reshape(batch, heads, rows, side[0], columns, side[1], dims)
    x = x.permute(0, 2, 4, 1, 3, 5, 6)
    return x.reshape(-1, heads, side[0] * side[1], dims)


def _join(x: Tensor, side: Tuple[int, int], size: Tuple[int, int]) -> Tensor:
    """The inverse of :func:`_split` for a part of ``size`` (h, w)."""
    heads, dims = x.shape[1], x.shape[-1]
    rows, columns = size[0] // side[0], size[1] // side[1]
    x = x.reshape(-1, rows, columns, heads, *side, dims)
    return x.permute(0, 3, 1, 4, 2, 5, 6).reshape(-1, heads, *size, dims)


def _with_prefix(prefix: Tensor, windowed: Tensor, windows: int) -> Tensor:
    """Puts the prefix tokens before the patches of each of their windows."""
    if not prefix.shape[2]:
        return windowed
    prefix = prefix.repeat_interleave(windows, dim=0)
    return torch.cat([prefix, windowed], dim=2)
