"""Towers of convolutions: timm's ConvNeXt and FastViT, open_clip's ResNet."""

from abc import abstractmethod
from typing import Optional

import torch
import torch.nn.functional as F
from open_clip.modified_resnet import ModifiedResNet
from open_clip.timm_model import TimmModel
from timm.models.convnext import ConvNeXt
from timm.models.fastvit import FastVit
from torch import Tensor, nn

from .base import Embedded, Family, resize_pos_embed, split_heads


class ConvolutionalFamily(Family):
    """Stages, each of twice the stride of the one before."""

    def embed(self, img: Tensor) -> Embedded:
        """See the base class."""
        img = self.fit(img)
        grid = tuple(side // self.patch_size for side in img.shape[-2:])
        return Embedded(self.stem_forward(img), grid)

    @abstractmethod
    def stem_forward(self, img: Tensor) -> Tensor:
        """Input of the first stage."""


class TimmConvNet(ConvolutionalFamily):
    """An average over locations between the stages and a head."""

    name = 'timm convolutional'
    pool_name = 'average'
    stem = ('trunk.stem.',)

    def __init__(self, visual: nn.Module) -> None:
        super().__init__(visual)
        stages = visual.trunk.feature_info
        self.blocks = visual.trunk.stages
        self.block_dims = tuple(each['num_chs'] for each in stages)
        self.patch_size = stages[-1]['reduction']
        self.block_names = tuple(
            f'trunk.stages.{i}.' for i in range(len(self.blocks))
        )

    @classmethod
    def reads(cls, visual: nn.Module) -> bool:
        """ConvNeXt or FastViT with an average and no pool of open_clip's."""
        return (
            isinstance(visual, TimmModel)
            and type(visual.trunk) in (ConvNeXt, FastVit)
            and not hasattr(visual.head, 'pool')
        )

    def stem_forward(self, img: Tensor) -> Tensor:
        """See the base class."""
        return self.visual.trunk.stem(img)

    def pool(self, x: Tensor) -> Tensor:
        """See the base class."""
        x = self._after_stages(x)
        return self.visual.head(self.visual.trunk.forward_head(x))

    def to_joint(
        self, x: Tensor, attention_pool: Optional[nn.Module] = None
    ) -> Tensor:
        """See the base class."""
        x = self._after_stages(x)
        batch, dims, height, width = x.shape
        # Each location as an image of one: its average is itself.
        x = x.permute(0, 2, 3, 1).reshape(-1, dims, 1, 1)
        x = self.visual.head(self.visual.trunk.forward_head(x))
        return x.reshape(batch, height, width, -1).permute(0, 3, 1, 2)

    def _after_stages(self, x: Tensor) -> Tensor:
        trunk = self.visual.trunk
        if isinstance(trunk, ConvNeXt):
            return trunk.norm_pre(x)
        return trunk.final_conv(x)


class OpenCLIPResNet(ConvolutionalFamily):
    """OpenAI's ResNets, with an attention pool that knows positions."""

    name = 'open_clip ResNet'
    pool_name = 'attention'
    stem = tuple(f'{kind}{i}.' for i in (1, 2, 3) for kind in ('conv', 'bn'))
    pos_embed = 'attnpool.positional_embedding'
    patch_size = 32
    pool_for_many = ('positional_embedding', 'q_proj.', 'k_proj.')

    def __init__(self, visual: nn.Module) -> None:
        super().__init__(visual)
        self.attention_pool = visual.attnpool
        dims = visual.attnpool.v_proj.in_features
        self.block_dims = tuple(dims // 2**i for i in (3, 2, 1, 0))
        self.blocks = [getattr(visual, f'layer{i}') for i in (1, 2, 3, 4)]
        self.block_names = tuple(f'layer{i}.' for i in (1, 2, 3, 4))

    @classmethod
    def reads(cls, visual: nn.Module) -> bool:
        """See the base class."""
        return isinstance(visual, ModifiedResNet)

    def stem_forward(self, img: Tensor) -> Tensor:
        """See the base class."""
        return self.visual.stem(img)

    def pool(self, x: Tensor) -> Tensor:
        """See the base class."""
        attn = self.visual.attnpool
        grid = tuple(x.shape[-2:])
        x = x.flatten(2).transpose(1, 2)
        x = torch.cat([x.mean(dim=1, keepdim=True), x], dim=1)
        side = round((len(attn.positional_embedding) - 1) ** 0.5)
        positions = resize_pos_embed(
            attn.positional_embedding, (side, side), grid, 1
        )
        x = x + positions.to(x.dtype)
        parts = attn.q_proj(x[:, :1]), attn.k_proj(x), attn.v_proj(x)
        heads = (split_heads(each, attn.num_heads) for each in parts)
        out = F.scaled_dot_product_attention(*heads)
        return attn.c_proj(out.transpose(1, 2).flatten(2))[:, 0]

    def to_joint(
        self, x: Tensor, attention_pool: Optional[nn.Module] = None
    ) -> Tensor:
        """Values of the pool, as MaskCLIP and RegionCLIP: no positions."""
        attn = attention_pool or self.visual.attnpool
        x = attn.c_proj(attn.v_proj(x.permute(0, 2, 3, 1)))
        return x.permute(0, 3, 1, 2)
