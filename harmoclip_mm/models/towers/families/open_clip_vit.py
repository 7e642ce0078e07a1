"""open_clip's own ViT: OpenAI, LAION, DataComp, DFN, MetaCLIP, CLIPA.

Its block is that of text towers, too, which want the fused causal kernel that
its mask of numbers keeps out.
"""

from typing import Any, Optional, Tuple

import torch
import torch.nn.functional as F
from open_clip.transformer import ResidualAttentionBlock, VisionTransformer
from torch import Tensor, nn

from .base import (
    Embedded,
    TransformerFamily,
    joint_qkv,
    resize_pos_embed,
    split_heads,
)


class OpenCLIPViT(TransformerFamily):
    """CLS token, or the average of the patches, and a projection."""

    name = 'open_clip ViT'
    prefix = 1
    stem = ('class_embedding', 'positional_embedding', 'conv1.', 'ln_pre.')
    pos_embed = 'positional_embedding'

    def __init__(self, visual: nn.Module) -> None:
        super().__init__(visual)
        self.patch_size = visual.patch_size[0]
        self.pool_name = 'cls' if visual.pool_type == 'tok' else 'average'
        blocks = visual.transformer.resblocks
        width = visual.transformer.width
        self.set_blocks(blocks, 'transformer.resblocks.', width)

    @classmethod
    def reads(cls, visual: nn.Module) -> bool:
        """Not CoCa's pooler of many queries, nor blocks of another kind."""
        return (
            isinstance(visual, VisionTransformer)
            and visual.attn_pool is None
            and visual.pool_type in ('tok', 'avg')
            and all(
                isinstance(block, ResidualAttentionBlock)
                for block in visual.transformer.resblocks
            )
        )

    def embed(self, img: Tensor) -> Embedded:
        """See the base class."""
        visual = self.visual
        x = visual.conv1(self.fit(img))
        grid = tuple(x.shape[-2:])
        x = x.flatten(2).transpose(1, 2)
        cls_token = visual.class_embedding.expand(x.shape[0], 1, -1)
        x = torch.cat([cls_token.to(x.dtype), x], dim=1)
        positions = resize_pos_embed(
            visual.positional_embedding, visual.grid_size, grid, self.prefix
        )
        return Embedded(visual.ln_pre(x + positions.to(x.dtype)), grid)

    @staticmethod
    def project(
        block: nn.Module,
        x: Tensor,
        context: Any = None,
        first_query_only: bool = False,
    ) -> Tuple[Tensor, Tensor, Tensor]:
        """See the base class."""
        attn = block.attn
        weights = attn.in_proj_weight, attn.in_proj_bias
        parts = joint_qkv(block.ln_1(x), *weights, first_query_only)
        return tuple(split_heads(each, attn.num_heads) for each in parts)

    @staticmethod
    def finish(block: nn.Module, x: Tensor, mixed: Tensor) -> Tensor:
        """See the base class."""
        out = block.attn.out_proj(mixed.transpose(1, 2).flatten(-2))
        x = x + block.ls_1(out)
        return x + block.ls_2(block.mlp(block.ln_2(x)))

    def pool(self, x: Tensor) -> Tensor:
        """See the base class."""
        visual = self.visual
        if self.pool_name == 'cls':
            return self._project_out(visual.ln_post(x[:, 0]))
        if visual.final_ln_after_pool:
            return self._project_out(visual.ln_post(x[:, 1:].mean(dim=1)))
        return self._project_out(visual.ln_post(x)[:, 1:].mean(dim=1))

    def to_joint(
        self, x: Tensor, attention_pool: Optional[nn.Module] = None
    ) -> Tensor:
        """See the base class."""
        return self._project_out(self.visual.ln_post(x))

    def _project_out(self, x: Tensor) -> Tensor:
        return F.linear(x, self.visual.proj.t())
