"""open_clip's ``ResidualAttentionBlock``, taken apart around attention.

Vision towers need parts of it: queries of CLS alone, values of patches that
attend to nothing, windows. Text towers want the fused causal kernel, which its
mask of numbers keeps out. What lies before and after attention stays its own.
"""

from typing import Tuple

import torch.nn.functional as F
from torch import Tensor, nn


def split_heads(x: Tensor, num_heads: int) -> Tensor:
    """Splits tokens (B, T, C) into heads (B, heads, T, C / heads)."""
    return x.unflatten(-1, (num_heads, -1)).transpose(1, 2)


def project(
    block: nn.Module, x: Tensor, first_query_only: bool = False
) -> Tuple[Tensor, Tensor, Tensor]:
    """Makes queries, keys and values of a block's input.

    Args:
        block (nn.Module): A ``ResidualAttentionBlock``.
        x (Tensor): Its input, shape (B, T, C), not yet normed.
        first_query_only (bool): Whether only the first token asks. Defaults
            to False.

    Returns:
        Tuple[Tensor, Tensor, Tensor]: Queries, keys and values, shapes
        (B, heads, T, C / heads); T is 1 of queries of the first alone.
    """
    attn = block.attn
    weight, bias = attn.in_proj_weight, attn.in_proj_bias
    x = block.ln_1(x)
    if first_query_only:
        dims = attn.embed_dim
        query = F.linear(x[:, :1], weight[:dims], bias[:dims])
        key, value = F.linear(x, weight[dims:], bias[dims:]).chunk(2, dim=-1)
    else:
        query, key, value = F.linear(x, weight, bias).chunk(3, dim=-1)
    heads = attn.num_heads
    return tuple(split_heads(each, heads) for each in (query, key, value))


def finish(block: nn.Module, x: Tensor, mixed: Tensor) -> Tensor:
    """Does all that follows attention.

    Args:
        block (nn.Module): A ``ResidualAttentionBlock``.
        x (Tensor): Its input for the tokens that asked, shape (B, T, C).
        mixed (Tensor): Values mixed for them, shape (B, heads, T, C / heads).

    Returns:
        Tensor: Its output for these tokens, shape (B, T, C).
    """
    out = block.attn.out_proj(mixed.transpose(1, 2).flatten(-2))
    x = x + block.ls_1(out)
    return x + block.ls_2(block.mlp(block.ln_2(x)))
