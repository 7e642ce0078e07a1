"""What version 0.1 computed, for the proof of ``convert_0_1.py``."""

from typing import Any, Dict, Sequence, Tuple

import torch
import torch.nn.functional as F
from torch import Tensor

from harmoclip_mm.errors import CheckpointError, UsageError
from harmoclip_mm.models.checkpoints.fitting import (
    differences,
    fitting_clips,
    shapes_of,
)
from harmoclip_mm.models.towers import clip_spec

VIT_LAYERS = 'attn.qkv attn.proj ffn.layers.0.0 ffn.layers.1'
TEXT_LAYERS = 'qkv proj fc1 fc2'
EVA_NAMES = ('EVA02-B-16', 'EVA02-L-14', 'EVA02-L-14-336')


class OldCLIP:
    """What version 0.1 computed, by its names and without its classes.

    Args:
        weights (Dict[str, Tensor]): ``backbone.*`` and ``text_encoder.*``.
        towers (Dict[str, Dict]): Their arguments in the config.
    """

    def __init__(
        self, weights: Dict[str, Tensor], towers: Dict[str, Dict]
    ) -> None:
        self.weights = weights
        self.is_eva = 'backbone.layers.0.ffn.w12.weight' in weights
        vision, text = (
            towers.get(tower) or {} for tower in ('backbone', 'text_encoder')
        )
        arch = vision.get('arch')
        self.width = weights['backbone.cls_token'].shape[-1]
        self.heads = {1280: 16}.get(self.width, self.width // 64)
        if isinstance(arch, dict):
            self.heads = arch['num_heads']
        self.text_heads = text.get('num_heads') or 8
        self.acts = [
            (cfg.get('act_cfg') or {}).get('type', 'QuickGELU').split('.')[-1]
            for cfg in (vision, text)
        ]
        kernel = weights['backbone.patch_embed.projection.weight']
        self.patch = kernel.shape[-1]
        side = round((weights['backbone.pos_embed'].shape[1] - 1) ** 0.5)
        size = vision.get('img_size') or side * self.patch
        self.img_size = [size] * 2 if isinstance(size, int) else list(size)

    @property
    def has_text(self) -> bool:
        """Whether there is a text tower."""
        return 'text_encoder.pos_embed' in self.weights

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


def name_clip(old: OldCLIP, shapes: Dict[str, Tuple[int, ...]]) -> Any:
    """Finds the CLIP that the towers of version 0.1 are.

    Args:
        old (OldCLIP): The towers.
        shapes (Dict[str, Tuple[int, ...]]): Shapes by open_clip's names.

    Returns:
        str | dict: Its name in open_clip, or itself in open_clip's schema.
    """
    if not old.has_text:
        raise UsageError(
            'the checkpoint has no text tower: name its CLIP by --clip'
        )
    if old.is_eva:
        for name in EVA_NAMES:
            wanted = shapes_of(clip_spec(name).model_cfg)
            if not differences(shapes, {}, wanted, {}, any_grid=True):
                return name
        raise UsageError(
            f'open_clip has EVA-02 as {", ".join(EVA_NAMES)} alone, and the '
            'checkpoint is none of them: train it anew'
        )
    if old.acts[0] != old.acts[1]:
        raise UsageError(
            f'open_clip has one activation for both towers, and the '
            f'checkpoint {old.acts[0]} and {old.acts[1]}'
        )
    quick_gelu = old.acts[0] == 'QuickGELU'
    facts = dict(
        visual=dict(heads=[old.heads]),
        text=dict(
            heads=[old.text_heads],
            activation=['quick_gelu' if quick_gelu else 'gelu'],
        ),
    )
    names, _ = fitting_clips(shapes, facts)
    if len(names) == 1:
        return names[0]
    vocab_size, width = shapes['text.token_embedding.weight']
    block = 'transformer.resblocks.0.mlp.c_fc.bias'
    size = old.img_size
    return dict(
        embed_dim=shapes['visual.proj'][1],
        quick_gelu=quick_gelu,
        vision_cfg=dict(
            image_size=size[0] if size[0] == size[1] else size,
            layers=depth(old.weights, 'backbone.layers.'),
            width=old.width,
            head_width=old.width // old.heads,
            patch_size=old.patch,
            mlp_ratio=shapes[f'visual.{block}'][0] / old.width,
        ),
        text_cfg=dict(
            context_length=shapes['text.positional_embedding'][0],
            vocab_size=vocab_size,
            width=width,
            heads=old.text_heads,
            layers=depth(old.weights, 'text_encoder.layers.'),
            mlp_ratio=shapes[f'text.{block}'][0] / width,
        ),
    )


@torch.no_grad()
def prove(old: OldCLIP, model: torch.nn.Module) -> Dict[str, float]:
    """Compares embeddings of the old weights with those of the new model.

    Args:
        old (OldCLIP): The old towers.
        model (nn.Module): The new ``HarmoCLIP``.

    Returns:
        Dict[str, float]: Largest difference over the largest value.

    Raises:
        CheckpointError: If they differ by more than 1e-4.
    """
    generator = torch.Generator().manual_seed(0)
    img = torch.randn(2, 3, *old.img_size, generator=generator)
    pairs = {'image': (old.image(img), model.backbone.encode(img).pooled)}
    if old.has_text:
        tower = model.text_encoder
        end = tower.text.vocab_size - 1
        shape = (4, tower.context_length)
        ids = torch.randint(end, shape, generator=generator)
        ids[:, -1], ids[0, 5:] = end, end
        pairs['text'] = old.text(ids), tower(ids).pooled
    found = {
        what: ((one - other).abs().max() / one.abs().max()).item()
        for what, (one, other) in pairs.items()
    }
    for what, error in found.items():
        if not error < 1e-4:
            raise CheckpointError(
                f'{what} embeddings of the new towers differ from those of '
                f'the old ones by {error:.1e}: nothing was written; is it '
                'another CLIP than --clip says?'
            )
    return found
