"""timm's Eva: EVA-01 and EVA-02 (CLS), PE-Core (attention pool)."""

import copy
from typing import Any, Tuple

import torch
from open_clip.timm_model import TimmModel
from timm.layers import AttentionRope, apply_rot_embed_cat
from timm.models.eva import Eva, EvaAttention, EvaBlock, EvaBlockPostNorm
from torch import Tensor, nn

from .base import Embedded, Grid, joint_qkv, split_heads
from .timm_vit import TimmViT, _reads_pool


class TimmEva(TimmViT):
    """As :class:`TimmViT`, with rotary positions and other blocks."""

    name = 'timm Eva'

    def __init__(self, visual: nn.Module) -> None:
        super().__init__(visual)
        self._kept: Tuple = None, None

    @classmethod
    def reads(cls, visual: nn.Module) -> bool:
        """Eva with rotary angles shared by its blocks, or without any."""
        if not isinstance(visual, TimmModel):
            return False
        trunk = visual.trunk
        return (
            type(trunk) is Eva
            and not trunk.rope_mixed
            and trunk.global_pool in ('token', 'avg', 'map')
            and all(
                type(block) in (EvaBlock, EvaBlockPostNorm)
                and type(block.attn) in (EvaAttention, AttentionRope)
                and block.attn.gate is None
                and getattr(block.attn, 'num_kv_groups', 1) == 1
                for block in trunk.blocks
            )
            and (trunk.attn_pool is None or _reads_pool(trunk.attn_pool))
        )

    def embed(self, img: Tensor) -> Embedded:
        """See the base class."""
        trunk = self.visual.trunk
        x = trunk.patch_embed(self.fit(img))
        grid = tuple(x.shape[1:3])
        x, angles = trunk._pos_embed(x)
        native = getattr(trunk.rope, 'feat_shape', None)
        if native is not None and tuple(native) != grid:
            angles = self._angles(grid, angles)
        return Embedded(trunk.norm_pre(x), grid, angles)

    def _angles(self, grid: Grid, like: Tensor) -> Tensor:
        """Rotary angles of a grid, as like as those of the native one.

        Made in a copy with buffers of its own, since moving averages copy
        the tower's, whose shapes must stay.
        Those of the last grid are kept, as a training asks for no other.
        """
        inference = torch.is_inference_mode_enabled()
        known = grid, like.device, like.dtype, inference
        if torch.jit.is_tracing() or self._kept[0] != known:
            rope = copy.copy(self.visual.trunk.rope)
            rope._buffers = dict(rope._buffers)
            rope.update_feat_shape(type(rope.feat_shape)(grid))
            self._kept = known, rope.get_embed()
        return self._kept[1]

    def project(
        self,
        block: nn.Module,
        x: Tensor,
        context: Any = None,
        first_query_only: bool = False,
    ) -> Tuple[Tensor, Tensor, Tensor]:
        """See the base class."""
        attn = block.attn
        if not isinstance(block, EvaBlockPostNorm):
            x = block.norm1(x)
        if attn.qkv is None:
            first = x[:, :1] if first_query_only else x
            parts = attn.q_proj(first), attn.k_proj(x), attn.v_proj(x)
        else:
            bias = attn.qkv.bias
            if getattr(attn, 'q_bias', None) is not None:
                bias = torch.cat([attn.q_bias, attn.k_bias, attn.v_bias])
            parts = joint_qkv(x, attn.qkv.weight, bias, first_query_only)
        query, key, value = (split_heads(p, attn.num_heads) for p in parts)
        query, key = attn.q_norm(query), attn.k_norm(key)
        if context is not None:
            query = self._rotate(attn, query, context)
            key = self._rotate(attn, key, context)
        return query, key, value

    def _rotate(self, attn: nn.Module, x: Tensor, rope: Tensor) -> Tensor:
        """Turns the patches of queries or keys; a lone CLS has no place."""
        prefix, patches = x[:, :, : self.prefix], x[:, :, self.prefix :]
        if not patches.shape[2]:
            return x
        patches = apply_rot_embed_cat(patches, rope, half=attn.rotate_half)
        return torch.cat([prefix, patches.type_as(x)], dim=2)

    def finish(self, block: nn.Module, x: Tensor, mixed: Tensor) -> Tensor:
        """See the base class."""
        attn = block.attn
        out = attn.norm(mixed.transpose(1, 2).flatten(2))
        out = attn.proj_drop(attn.proj(out))
        if isinstance(block, EvaBlockPostNorm):
            x = x + block.drop_path1(block.norm1(out))
            return x + block.drop_path2(block.norm2(block.mlp(x)))
        if block.gamma_1 is not None:
            out = block.gamma_1 * out
        x = x + block.drop_path1(out)
        out = block.mlp(block.norm2(x))
        if block.gamma_2 is not None:
            out = block.gamma_2 * out
        return x + block.drop_path2(out)
