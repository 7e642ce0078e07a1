"""Transformer block of EVA-02-CLIP."""

from typing import Dict, Optional, Tuple

from mmcv.cnn.bricks import DropPath
from mmengine.model import BaseModule
from mmpretrain.models.utils import SwiGLUFFN, build_norm_layer
from torch import Tensor, nn

from .rope import rotate_patches
from .vision_block import BranchingMixin, split_heads


class EVA02Block(BranchingMixin, BaseModule):
    """Pre-norm residual block with rotary attention, SwiGLU and sub-norms.

    Layout of EVA-02-CLIP (arXiv 2303.15389, table 3, on arXiv 2303.11331,
    section 2.1): queries and values have a bias, keys have none; queries and
    keys of the patches are turned by their position, CLS is not; a layer
    norm stands before the output projection of the attention, and another
    inside the SwiGLU MLP, before its last projection.

    The block is our own, since mmpretrain's ``EVA02EndcoderLayer`` lacks the
    norm inside the attention, has a bias on the keys, holds an N x N matrix,
    and turns neighbouring channels by two different angles. Its MLP is used.
    Beside the tokens the block takes cosines and sines of the patches' rotary
    angles, each (N, C / heads / 2).

    Args:
        embed_dims (int): Width C.
        num_heads (int): Number of attention heads.
        feedforward_channels (int): Width of the gated MLP.
        drop_path_rate (float): Stochastic depth. Defaults to 0.
        norm_cfg (dict, optional): Layer norms. Defaults to LN with epsilon
            1e-6.
        init_cfg (dict, optional): Initialisation config.
    """

    def __init__(
        self,
        embed_dims: int,
        num_heads: int,
        feedforward_channels: int,
        drop_path_rate: float = 0.0,
        norm_cfg: Optional[Dict] = None,
        init_cfg: Optional[Dict] = None,
    ) -> None:
        super().__init__(init_cfg)
        norm_cfg = norm_cfg or dict(type='LN', eps=1e-6)
        self.num_heads = num_heads
        self.ln1 = build_norm_layer(norm_cfg, embed_dims)
        self.q_proj = nn.Linear(embed_dims, embed_dims)
        self.k_proj = nn.Linear(embed_dims, embed_dims, bias=False)
        self.v_proj = nn.Linear(embed_dims, embed_dims)
        self.attn_norm = build_norm_layer(norm_cfg, embed_dims)
        self.proj = nn.Linear(embed_dims, embed_dims)
        self.drop_path = DropPath(drop_path_rate)
        self.ln2 = build_norm_layer(norm_cfg, embed_dims)
        self.ffn = SwiGLUFFN(
            embed_dims,
            feedforward_channels,
            dropout_layer=dict(type='DropPath', drop_prob=drop_path_rate),
            norm_cfg=norm_cfg,
        )

    def _project(
        self, x: Tensor, cls_query_only: bool, cos: Tensor, sin: Tensor
    ) -> Tuple[Tensor, Tensor, Tensor]:
        heads = self.num_heads
        key = rotate_patches(split_heads(self.k_proj(x), heads), cos, sin)
        value = split_heads(self.v_proj(x), heads)
        if cls_query_only:
            return split_heads(self.q_proj(x[:, :1]), heads), key, value
        query = rotate_patches(split_heads(self.q_proj(x), heads), cos, sin)
        return query, key, value

    def _finish(self, x: Tensor, attended: Tensor) -> Tensor:
        out = self.attn_norm(attended.transpose(1, 2).flatten(-2))
        x = x + self.drop_path(self.proj(out))
        return self.ffn(self.ln2(x), identity=x)
