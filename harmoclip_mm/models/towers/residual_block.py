"""open_clip's ``ResidualAttentionBlock``, taken apart around attention.

Vision towers need parts of it: queries of CLS alone, values of patches that
attend to nothing, windows. Text towers want the fused causal kernel, which its
mask of numbers keeps out. What lies before and after attention stays its own.
"""

from typing import Optional, Tuple

import torch.nn.functional as F
from torch import Tensor, nn


def split_heads(x: Tensor, num_heads: int) -> Tensor:
    """Splits tokens (B, T, C) into heads (B, heads, T, C / heads)."""
    return x.unflatten(-1, (num_heads, -1)).transpose(1, 2)


def joint_qkv(
    x: Tensor,
    weight: Tensor,
    bias: Optional[Tensor],
    first_query_only: bool = False,
) -> Tuple[Tensor, Tensor, Tensor]:
    """Applies the joint layer of queries, keys and values of an attention.

    Args:
        x (Tensor): Tokens, shape (B, T, C).
        weight (Tensor): Weight of the layer, shape (3 D, C).
        bias (Tensor, optional): Its bias, shape (3 D,).
        first_query_only (bool): Whether only the first token asks. Defaults
            to False.

    Returns:
        Tuple[Tensor, Tensor, Tensor]: Queries, keys and values (B, T, D); T
        is 1 of queries of the first alone.
    """
    if not first_query_only:
        return F.linear(x, weight, bias).chunk(3, dim=-1)
    dims = len(weight) // 3
    biases = (None, None) if bias is None else (bias[:dims], bias[dims:])
    query = F.linear(x[:, :1], weight[:dims], biases[0])
    key, value = F.linear(x, weight[dims:], biases[1]).chunk(2, dim=-1)
    return query, key, value


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
    weights = attn.in_proj_weight, attn.in_proj_bias
    parts = joint_qkv(block.ln_1(x), *weights, first_query_only)
    return tuple(split_heads(each, attn.num_heads) for each in parts)


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
