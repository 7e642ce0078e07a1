"""What version 0.1 computed, by plain functions."""

from typing import Dict, Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

VIT_LAYERS = 'attn.qkv attn.proj ffn.layers.0.0 ffn.layers.1'
TEXT_LAYERS = 'qkv proj fc1 fc2'


class OldCLIP:
    """Towers of version 0.1, by its names and without its classes.

    Args:
        weights (Dict[str, Tensor]): ``backbone.*`` and ``text_encoder.*``.
        heads (int): Of the vision tower.
        text_heads (int): Of the text tower.
        text_act (str): Its activation; of the ViT it is QuickGELU.
    """

    def __init__(
        self,
        weights: Dict[str, Tensor],
        heads: int,
        text_heads: int,
        text_act: str = 'QuickGELU',
    ) -> None:
        self.weights = weights
        self.is_eva = 'backbone.layers.0.ffn.w12.weight' in weights
        self.heads, self.text_heads = heads, text_heads
        self.acts = 'QuickGELU', text_act
        kernel = weights['backbone.patch_embed.projection.weight']
        self.patch = kernel.shape[-1]
        side = round((weights['backbone.pos_embed'].shape[1] - 1) ** 0.5)
        self.img_size = [side * self.patch] * 2

    def _norm(self, x: Tensor, name: str) -> Tensor:
        eps = 1e-6 if self.is_eva and name.startswith('backbone.') else 1e-5
        weight, bias = self.weights[f'{name}.weight'], f'{name}.bias'
        return F.layer_norm(x, weight.shape, weight, self.weights[bias], eps)

    def _linear(self, x: Tensor, name: str) -> Tensor:
        bias = self.weights.get(f'{name}.bias')
        return F.linear(x, self.weights[f'{name}.weight'], bias)

    def _attend(self, parts: Sequence[Tensor], heads: int, **how) -> Tensor:
        query, key, value = (
            part.unflatten(-1, (heads, -1)).transpose(1, 2) for part in parts
        )
        if how.pop('turned', False):
            query, key = self._turned(query), self._turned(key)
        mixed = F.scaled_dot_product_attention(query, key, value, **how)
        return mixed.transpose(1, 2).flatten(2)

    def _block(
        self, x: Tensor, stem: str, names: str, heads: int, act: str, **how
    ) -> Tensor:
        """A block of a ViT or a text tower, with the names of its layers."""
        qkv, proj, fc1, fc2 = (f'{stem}{name}' for name in names.split())
        parts = self._linear(self._norm(x, f'{stem}ln1'), qkv).chunk(3, -1)
        x = x + self._linear(self._attend(parts, heads, **how), proj)
        y = self._linear(self._norm(x, f'{stem}ln2'), fc1)
        y = y * (1.702 * y).sigmoid() if act == 'QuickGELU' else F.gelu(y)
        return x + self._linear(y, fc2)

    def _eva_block(self, x: Tensor, stem: str) -> Tensor:
        y = self._norm(x, f'{stem}ln1')
        parts = [self._linear(y, f'{stem}{part}_proj') for part in 'qkv']
        y = self._attend(parts, self.heads, turned=True)
        y = self._norm(y, f'{stem}attn_norm')
        x = x + self._linear(y, f'{stem}proj')
        y = self._linear(self._norm(x, f'{stem}ln2'), f'{stem}ffn.w12')
        gate, hidden = y.chunk(2, -1)
        y = self._norm(F.silu(gate) * hidden, f'{stem}ffn.norm')
        return x + self._linear(y, f'{stem}ffn.w3')

    def _turned(self, x: Tensor) -> Tensor:
        """Rotary positions (arXiv 2303.11331): 16 rows, whatever the grid."""
        grid = [side // self.patch for side in self.img_size]
        pairs = x.shape[-1] // 4
        bands = 10000.0 ** -(torch.arange(pairs) / pairs)
        rows, columns = (
            (torch.arange(side) / side * 16)[:, None] * bands for side in grid
        )
        angles = torch.cat(
            [
                rows[:, None].expand(*grid, pairs),
                columns[None].expand(*grid, pairs),
            ],
            dim=-1,
        ).flatten(0, 1)
        even, odd = x[:, :, 1:].unflatten(-1, (-1, 2)).unbind(-1)
        cos, sin = angles.cos().to(x), angles.sin().to(x)
        turned = torch.stack(
            (even * cos - odd * sin, odd * cos + even * sin), dim=-1
        )
        return torch.cat([x[:, :, :1], turned.flatten(-2)], dim=2)

    def image(self, img: Tensor) -> Tensor:
        """Embeddings (B, D) of images (B, 3, H, W)."""
        weights = self.weights
        x = F.conv2d(
            img,
            weights['backbone.patch_embed.projection.weight'],
            weights.get('backbone.patch_embed.projection.bias'),
            stride=self.patch,
        )
        x = x.flatten(2).transpose(1, 2)
        cls_token = weights['backbone.cls_token'].expand(len(x), -1, -1)
        x = torch.cat([cls_token, x], dim=1) + weights['backbone.pos_embed']
        if not self.is_eva:
            x = self._norm(x, 'backbone.pre_norm')
        for index in range(depth(weights, 'backbone.layers.')):
            stem = f'backbone.layers.{index}.'
            if self.is_eva:
                x = self._eva_block(x, stem)
            else:
                x = self._block(x, stem, VIT_LAYERS, self.heads, self.acts[0])
        return self._linear(
            self._norm(x[:, 0], 'backbone.ln1'), 'backbone.proj'
        )

    def text(self, ids: Tensor) -> Tensor:
        """Embeddings (N, D) of token ids (N, L), pooled at the largest."""
        weights = self.weights
        x = weights['text_encoder.token_embedding.weight'][ids]
        x = x + weights['text_encoder.pos_embed']
        for index in range(depth(weights, 'text_encoder.layers.')):
            stem = f'text_encoder.layers.{index}.'
            how = (TEXT_LAYERS, self.text_heads, self.acts[1])
            x = self._block(x, stem, *how, is_causal=True)
        x = x[torch.arange(len(x)), ids.argmax(dim=1)]
        x = self._norm(x, 'text_encoder.ln_final')
        return self._linear(x, 'text_encoder.proj')


def depth(weights: Dict[str, Tensor], stem: str) -> int:
    """Number of blocks whose names begin so."""
    blocks = {
        k[len(stem) :].split('.')[0] for k in weights if k.startswith(stem)
    }
    return len(blocks)
