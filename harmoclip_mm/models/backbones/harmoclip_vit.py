"""CLIP's vision transformer with a dense map, for CLIP and for detectors."""

from typing import Dict, List, NamedTuple, Optional, Sequence, Tuple, Union

import torch
from mmengine.logging import print_log
from mmpretrain.models import VisionTransformer
from torch import Tensor, nn

from harmoclip_mm.registry import MODELS

from ..layers import (
    DENSE_MODES,
    BranchingEncoderLayer,
    resize_pos_embed,
    run_block,
)


class VisionFeatures(NamedTuple):
    """What a vision tower says of a batch of images.

    Attributes:
        pooled (Tensor, optional): Image embeddings in the joint space, shape
            (B, D), not normalised.
        dense (Tensor, optional): Dense map in the joint space, shape
            (B, D, h, w), not normalised.
    """

    pooled: Optional[Tensor]
    dense: Optional[Tensor]


@MODELS.register_module()
class HarmoCLIPViT(VisionTransformer):
    """CLIP's vision transformer.

    Layout of OpenAI's CLIP (arXiv 2103.00020): a patch embedding without
    bias, layer norms of epsilon 1e-5 before and after the blocks, and a
    linear projection to the joint space.

    ``encode`` serves CLIP: it runs all blocks but the last once and lets the
    last one branch into the image embedding and the dense map. ``forward``
    serves detectors: it returns the maps of ``out_indices`` as mmdet's
    backbones do. Any input size works, also one that is not a multiple of
    the patch size (it is zero-padded at the right and bottom); position
    embeddings are resized to it.

    Args:
        arch (str | dict): Name in mmpretrain's ``VisionTransformer`` or a
            dict of ``embed_dims``, ``num_layers``, ``num_heads`` and
            ``feedforward_channels``. Defaults to ``'base'``.
        img_size (int | Tuple[int, int]): Input size in pixels that the
            position embeddings belong to. Defaults to 224.
        patch_size (int): Side of a patch in pixels. Defaults to 16.
        out_dims (int): Width D of the joint space. Defaults to 512.
        dense_mode (str): How the last block makes the dense map, see
            :meth:`BranchingEncoderLayer.branch`. Defaults to ``'value'``.
        act_cfg (dict): Activation of the MLPs. Defaults to
            ``mmpretrain.QuickGELU``, which OpenAI's weights need.
        out_indices (Sequence[int] | int): Blocks whose maps ``forward``
            returns; the last one is the plain output of the block, before
            the final norm. Defaults to -1.
        drop_path_rate (float): Stochastic depth. Defaults to 0.
        frozen_stages (int): Number of leading blocks to freeze together with
            the embeddings; -1 freezes nothing. Defaults to -1.
        with_cp (bool): Recompute the blocks' activations in the backward.
            Defaults to False.
        init_cfg (dict, optional): Initialisation config.

    Raises:
        ValueError: If ``dense_mode`` is unknown.
    """

    def __init__(
        self,
        arch: Union[str, Dict] = 'base',
        img_size: Union[int, Tuple[int, int]] = 224,
        patch_size: int = 16,
        out_dims: int = 512,
        dense_mode: str = 'value',
        act_cfg: Optional[Dict] = None,
        out_indices: Union[int, Sequence[int]] = -1,
        drop_path_rate: float = 0.0,
        frozen_stages: int = -1,
        with_cp: bool = False,
        init_cfg: Optional[Dict] = None,
    ) -> None:
        if dense_mode not in DENSE_MODES:
            raise ValueError(
                f'HarmoCLIPViT knows no dense_mode {dense_mode!r}; choose '
                f'one of {", ".join(map(repr, DENSE_MODES))}.'
            )
        if not isinstance(out_indices, int):
            out_indices = list(out_indices)
        act_cfg = act_cfg or dict(type='mmpretrain.QuickGELU')
        norm_cfg = dict(type='LN', eps=1e-5)
        super().__init__(
            arch=arch,
            img_size=img_size,
            patch_size=patch_size,
            out_indices=out_indices,
            drop_path_rate=drop_path_rate,
            norm_cfg=norm_cfg,
            out_type='featmap',
            frozen_stages=-1,
            pre_norm=True,
            patch_cfg=dict(bias=False, padding='corner'),
            layer_cfgs=dict(act_cfg=act_cfg),
            init_cfg=init_cfg,
        )
        self.layers[-1] = BranchingEncoderLayer(
            embed_dims=self.embed_dims,
            num_heads=self.arch_settings['num_heads'],
            feedforward_channels=self.arch_settings['feedforward_channels'],
            drop_path_rate=drop_path_rate,
            act_cfg=act_cfg,
            norm_cfg=norm_cfg,
        )
        self.proj = nn.Linear(self.embed_dims, out_dims, bias=False)
        self.out_dims = out_dims
        self.patch_size = patch_size
        self.dense_mode = dense_mode
        self.with_cp = with_cp
        self.frozen_stages = frozen_stages
        if frozen_stages >= 0:
            self._freeze_stages()

    def init_weights(self) -> None:
        """Draws the weights as CLIP does, unless ``init_cfg`` loads them."""
        super().init_weights()
        if self.init_cfg and self.init_cfg['type'] == 'Pretrained':
            return
        # Standard deviations of openai/CLIP, ``clip/model.py``.
        dims = self.embed_dims
        nn.init.normal_(self.cls_token, std=dims**-0.5)
        nn.init.normal_(self.pos_embed, std=dims**-0.5)
        nn.init.normal_(self.proj.weight, std=dims**-0.5)
        deep = (2 * self.num_layers) ** -0.5
        for layer in self.layers:
            nn.init.normal_(layer.attn.qkv.weight, std=dims**-0.5)
            nn.init.zeros_(layer.attn.qkv.bias)
            nn.init.normal_(layer.attn.proj.weight, std=deep * dims**-0.5)
            nn.init.zeros_(layer.attn.proj.bias)
            first, last = layer.ffn.layers[0][0], layer.ffn.layers[1]
            nn.init.normal_(first.weight, std=(2 * dims) ** -0.5)
            nn.init.normal_(last.weight, std=deep * dims**-0.5)

    def encode(
        self, img: Tensor, with_pooled: bool = True, with_dense: bool = True
    ) -> VisionFeatures:
        """Encodes images into CLIP's joint space.

        Args:
            img (Tensor): Normalised images, shape (B, 3, H, W).
            with_pooled (bool): Whether image embeddings are wanted.
            with_dense (bool): Whether the dense map is wanted.

        Returns:
            VisionFeatures: Embeddings (B, D) and map (B, D, h, w) with
            h = ceil(H / patch) and w = ceil(W / patch), not normalised.
        """
        x, grid = self._embed(img)
        for layer in self.layers[:-1]:
            x = run_block(layer, x, with_cp=self._recompute)
        cls_token, patches = run_block(
            self.layers[-1].branch,
            x,
            with_pooled,
            self.dense_mode if with_dense else None,
            with_cp=self._recompute,
        )
        pooled = dense = None
        if cls_token is not None:
            pooled = self.proj(self.ln1(cls_token))
        if patches is not None:
            dense = self.proj(self.ln1(patches))
            dense = dense.transpose(1, 2).unflatten(2, grid)
        return VisionFeatures(pooled, dense)

    def forward(self, img: Tensor) -> Tuple[Tensor, ...]:
        """Returns the maps of ``out_indices``, each (B, C, h, w).

        Args:
            img (Tensor): Normalised images, shape (B, 3, H, W).

        Returns:
            Tuple[Tensor, ...]: Plain outputs of the chosen blocks.
        """
        x, grid = self._embed(img)
        maps: List[Tensor] = []
        for index, layer in enumerate(
            self.layers[: max(self.out_indices) + 1]
        ):
            x = run_block(layer, x, with_cp=self._recompute)
            if index in self.out_indices:
                maps.append(x[:, 1:].transpose(1, 2).unflatten(2, grid))
        return tuple(maps)

    def train(self, mode: bool = True) -> 'HarmoCLIPViT':
        """Sets the mode; mmpretrain's backbones return None here."""
        super().train(mode)
        return self

    @property
    def _recompute(self) -> bool:
        return self.with_cp and self.training

    def _embed(self, img: Tensor) -> Tuple[Tensor, Tuple[int, int]]:
        """Tokens (B, 1 + h * w, C) after the first norm, and (h, w)."""
        x, grid = self.patch_embed(img)
        grid = tuple(int(side) for side in grid)
        x = torch.cat([self.cls_token.expand(len(x), -1, -1), x], dim=1)
        x = x + resize_pos_embed(self.pos_embed, self.patch_resolution, grid)
        return self.pre_norm(x), grid

    def _prepare_pos_embed(self, state_dict, prefix, *args, **kwargs):
        """Resizes a checkpoint's position embeddings to this input size."""
        name = f'{prefix}pos_embed'
        saved = state_dict.get(name)
        if saved is None or saved.shape == self.pos_embed.shape:
            return
        side = round((saved.shape[1] - 1) ** 0.5)
        if side * side != saved.shape[1] - 1 or saved.dim() != 3:
            return  # not a square grid: let the shape check report it
        print_log(
            f'Resizing {name} from a grid of {side} x {side} to '
            f'{self.patch_resolution[0]} x {self.patch_resolution[1]}.',
            logger='current',
        )
        state_dict[name] = resize_pos_embed(
            saved, (side, side), self.patch_resolution
        )
