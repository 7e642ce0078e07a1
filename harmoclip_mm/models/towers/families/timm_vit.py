"""timm's ViT: SigLIP, SigLIP 2 (attention pool), MobileCLIP (CLS), ViTamin."""

from typing import Any, Optional, Tuple

import torch.nn.functional as F
from open_clip.timm_model import TimmModel
from timm.layers import AttentionPoolLatent, Format
from timm.models.vision_transformer import Block, VisionTransformer
from torch import Tensor, nn

from .base import Embedded, TransformerFamily, joint_qkv, split_heads


class TimmViT(TransformerFamily):
    """A ``VisionTransformer`` in ``visual.trunk``, with any of its pools."""

    name = 'timm ViT'
    stem = tuple(
        f'trunk.{part}'
        for part in (
            'cls_token',
            'reg_token',
            'pos_embed',
            'patch_embed.',
            'norm_pre.',
        )
    )
    pos_embed = 'trunk.pos_embed'
    pool_for_many = ('latent', 'q.', 'q_norm.', 'k_norm.')

    def __init__(self, visual: nn.Module) -> None:
        super().__init__(visual)
        trunk = visual.trunk
        self.patch_size = trunk.patch_embed.feat_ratio()
        self.prefix = trunk.num_prefix_tokens
        self.attention_pool = trunk.attn_pool
        pools = dict(token='cls', avg='average', map='attention')
        self.pool_name = pools[trunk.global_pool]
        self.set_blocks(trunk.blocks, 'trunk.blocks.', trunk.embed_dim)
        # timm's own switch for images of any size, which open_clip does not
        # pass on; it changes no weight.
        trunk.dynamic_img_size = True
        trunk.patch_embed.strict_img_size = False
        trunk.patch_embed.flatten = False
        trunk.patch_embed.output_fmt = Format.NHWC

    @classmethod
    def reads(cls, visual: nn.Module) -> bool:
        """A plain ViT whose pool knows no positions."""
        if not isinstance(visual, TimmModel):
            return False
        trunk = visual.trunk
        pool = getattr(trunk, 'attn_pool', None)
        return (
            type(trunk) is VisionTransformer
            and trunk.global_pool in ('token', 'avg', 'map')
            and all(type(block) is Block for block in trunk.blocks)
            and (pool is None or _reads_pool(pool))
        )

    def embed(self, img: Tensor) -> Embedded:
        """See the base class."""
        trunk = self.visual.trunk
        x = trunk.patch_embed(self.fit(img))
        grid = tuple(x.shape[1:3])
        return Embedded(trunk.norm_pre(trunk._pos_embed(x)), grid)

    def project(
        self,
        block: nn.Module,
        x: Tensor,
        context: Any = None,
        first_query_only: bool = False,
    ) -> Tuple[Tensor, Tensor, Tensor]:
        """See the base class."""
        attn, x = block.attn, block.norm1(x)
        weights = attn.qkv.weight, attn.qkv.bias
        parts = joint_qkv(x, *weights, first_query_only)
        query, key, value = (split_heads(p, attn.num_heads) for p in parts)
        return attn.q_norm(query), attn.k_norm(key), value

    def finish(self, block: nn.Module, x: Tensor, mixed: Tensor) -> Tensor:
        """See the base class."""
        attn = block.attn
        out = attn.norm(mixed.transpose(1, 2).flatten(2))
        out = attn.proj_drop(attn.proj(out))
        x = x + block.drop_path1(block.ls1(out))
        return x + block.drop_path2(block.ls2(block.mlp(block.norm2(x))))

    def pool(self, x: Tensor) -> Tensor:
        """See the base class."""
        trunk = self.visual.trunk
        if self.pool_name == 'cls':
            x = x[:, :1]  # the others would be normed for nothing
        return self.visual.head(trunk.forward_head(trunk.norm(x)))

    def to_joint(
        self, x: Tensor, attention_pool: Optional[nn.Module] = None
    ) -> Tensor:
        """See the base class."""
        x = self.visual.trunk.norm(x)
        pool = attention_pool or self.attention_pool
        if pool is not None:
            x = pool_alone(pool, x)
        return self._head(x)

    def token_to_joint(self, x: Tensor) -> Tensor:
        """See the base class."""
        return self._head(self.visual.trunk.norm(x))

    def _head(self, x: Tensor) -> Tensor:
        trunk = self.visual.trunk
        x = trunk.head(trunk.head_drop(trunk.fc_norm(x)))
        return self.visual.head(x)


def _reads_pool(pool: nn.Module) -> bool:
    return isinstance(pool, AttentionPoolLatent) and pool.pos_embed is None


def pool_alone(pool: nn.Module, x: Tensor) -> Tensor:
    """timm's ``AttentionPoolLatent`` on each token by itself.

    Softmax over one key is 1, so the value is what attention returns, and
    neither query nor key is needed.

    Args:
        pool (nn.Module): The pool.
        x (Tensor): Tokens, shape (B, N, C).

    Returns:
        Tensor: Pooled tokens, shape (B, N, C).
    """
    dims = pool.kv.out_features // 2
    bias = None if pool.kv.bias is None else pool.kv.bias[dims:]
    value = F.linear(x, pool.kv.weight[dims:], bias)
    x = pool.proj_drop(pool.proj(value))
    return x if pool.mlp is None else x + pool.mlp(pool.norm(x))
