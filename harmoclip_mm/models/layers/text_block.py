"""Transformer block of CLIP's text tower."""

from typing import Dict, Optional

import torch.nn.functional as F
from mmengine.model import BaseModule
from torch import Tensor, nn

from harmoclip_mm.registry import MODELS

from .vision_block import split_heads


class CausalBlock(BaseModule):
    """Pre-norm residual block with causal self-attention.

    Args:
        embed_dims (int): Width C.
        num_heads (int): Number of attention heads.
        feedforward_channels (int): Width of the MLP.
        act_cfg (dict): Activation of the MLP. OpenAI's weights want
            ``harmoclip_mm.QuickGELU``: with the exact GELU their features are
            wrong, and the reverse (mlfoundations/open_clip issue 771).
        norm_eps (float): Epsilon of the layer norms. Defaults to 1e-5.
        init_cfg (dict, optional): Initialisation config.
    """

    def __init__(
        self,
        embed_dims: int,
        num_heads: int,
        feedforward_channels: int,
        act_cfg: Dict,
        norm_eps: float = 1e-5,
        init_cfg: Optional[Dict] = None,
    ) -> None:
        super().__init__(init_cfg)
        self.num_heads = num_heads
        self.ln1 = nn.LayerNorm(embed_dims, eps=norm_eps)
        self.qkv = nn.Linear(embed_dims, 3 * embed_dims)
        self.proj = nn.Linear(embed_dims, embed_dims)
        self.ln2 = nn.LayerNorm(embed_dims, eps=norm_eps)
        self.fc1 = nn.Linear(embed_dims, feedforward_channels)
        self.act = MODELS.build(act_cfg)
        self.fc2 = nn.Linear(feedforward_channels, embed_dims)

    def forward(self, x: Tensor) -> Tensor:
        """Maps tokens (B, L, C) to tokens (B, L, C)."""
        x = x + self.attend(self.ln1(x))
        return x + self.fc2(self.act(self.fc1(self.ln2(x))))

    def attend(self, x: Tensor) -> Tensor:
        """Causal multi-head self-attention, (B, L, C) to (B, L, C)."""
        parts = self.qkv(x).chunk(3, dim=-1)
        query, key, value = (
            split_heads(each, self.num_heads) for each in parts
        )
        out = F.scaled_dot_product_attention(query, key, value, is_causal=True)
        return self.proj(out.transpose(1, 2).flatten(-2))
