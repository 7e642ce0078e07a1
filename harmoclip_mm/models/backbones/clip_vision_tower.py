"""What CLIP's vision towers have in common."""

from abc import abstractmethod
from typing import Dict, List, NamedTuple, Optional, Sequence, Tuple, Union

import numpy as np
import torch
from mmengine.logging import print_log
from mmengine.model import BaseModule, ModuleList
from mmpretrain.models import VisionTransformer
from torch import Tensor, nn

from ..checkpoints import init_from_checkpoint
from ..layers import DENSE_MODES, resize_pos_embed, run_block


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


class CLIPVisionTower(VisionTransformer):
    """A vision transformer with an image embedding and a dense map.

    ``encode`` serves CLIP: it runs all blocks but the last once and lets the
    last one branch into the image embedding and the dense map. ``forward``
    serves detectors: it returns the maps of ``out_indices`` as mmdet's
    backbones do. Any input size works, also one that is not a multiple of
    the patch size (it is zero-padded at the right and bottom); position
    embeddings are resized to it.

    mmpretrain's ``VisionTransformer`` gives the patch embedding, freezing
    and ``get_layer_depth``. A subclass says which blocks it is made of and
    draws its weights in ``_draw_weights``; what its blocks need beside the
    tokens comes from ``_context``.

    Args:
        arch (str | dict): Name in ``arch_zoo`` or a dict of ``embed_dims``,
            ``num_layers``, ``num_heads`` and ``feedforward_channels``.
        img_size (int | Tuple[int, int]): Input size in pixels that the
            position embeddings belong to.
        patch_size (int): Side of a patch in pixels.
        out_dims (int): Width D of the joint space.
        dense_mode (str): How the last block makes the dense map, see
            :meth:`BranchingMixin.branch`.
        out_indices (Sequence[int] | int): Blocks whose maps ``forward``
            returns; the last one is the plain output of the block, before
            the final norm.
        drop_path_rate (float): Stochastic depth of the last block; it grows
            linearly from 0 at the first one.
        frozen_stages (int): Number of leading blocks to freeze together with
            the embeddings; -1 freezes nothing.
        with_cp (bool): Recompute the blocks' activations in the backward.
        block (type): Class of the blocks, a :class:`BranchingMixin`.
        block_cfg (dict): Its further arguments.
        norm_cfg (dict): Layer norms.
        pre_norm (bool): Whether a norm stands before the blocks; the patch
            embedding then has no bias.
        proj_bias (bool): Whether the projection to the joint space has one.
        init_cfg (dict, optional): Initialisation config. Type ``Pretrained``
            reads CLIP checkpoints of every format, see
            :func:`init_from_checkpoint`.

    Raises:
        ValueError: If ``dense_mode`` is unknown, or ``out_indices`` or
            ``frozen_stages`` name blocks that do not exist.
    """

    def __init__(
        self,
        arch: Union[str, Dict],
        img_size: Union[int, Tuple[int, int]],
        patch_size: int,
        out_dims: int,
        dense_mode: str,
        out_indices: Union[int, Sequence[int]],
        drop_path_rate: float,
        frozen_stages: int,
        with_cp: bool,
        block: type,
        block_cfg: Dict,
        norm_cfg: Dict,
        pre_norm: bool,
        proj_bias: bool,
        init_cfg: Optional[Dict],
    ) -> None:
        name = type(self).__name__
        if dense_mode not in DENSE_MODES:
            raise ValueError(
                f'{name} knows no dense_mode {dense_mode!r}; choose '
                f'one of {", ".join(map(repr, DENSE_MODES))}.'
            )
        if isinstance(arch, str):
            if arch not in self.arch_zoo:
                raise ValueError(
                    f'{name} knows no arch {arch!r}; choose one of '
                    f'{", ".join(map(repr, self.arch_zoo))} or give a dict.'
                )
            arch = self.arch_zoo[arch]
        depth = arch['num_layers']
        # Without blocks: mmpretrain would build its own, to be thrown away.
        super().__init__(
            arch=dict(arch, num_layers=0),
            img_size=img_size,
            patch_size=patch_size,
            out_indices=0,
            norm_cfg=norm_cfg,
            out_type='featmap',
            frozen_stages=-1,
            pre_norm=pre_norm,
            patch_cfg=dict(bias=not pre_norm, padding='corner'),
            init_cfg=init_cfg,
        )
        self.arch_settings, self.num_layers = dict(arch), depth
        self.layers = ModuleList(
            block(
                embed_dims=self.embed_dims,
                num_heads=arch['num_heads'],
                feedforward_channels=arch['feedforward_channels'],
                drop_path_rate=float(rate),
                norm_cfg=norm_cfg,
                **block_cfg,
            )
            for rate in np.linspace(0, drop_path_rate, depth)
        )
        self.proj = nn.Linear(self.embed_dims, out_dims, bias=proj_bias)
        self.out_indices = self._existing_blocks(out_indices)
        self.out_dims = out_dims
        self.patch_size = patch_size
        self.dense_mode = dense_mode
        self.with_cp = with_cp
        self.frozen_stages = frozen_stages
        if frozen_stages > depth:
            raise ValueError(
                f'frozen_stages {frozen_stages} is more than the {depth} '
                f'blocks of this {name}.'
            )
        if frozen_stages >= 0:
            self._freeze_stages()

    def init_weights(self) -> None:
        """Draws the weights, unless ``init_cfg`` loads them."""
        if init_from_checkpoint(self, 'backbone.'):
            return
        super().init_weights()
        self._draw_weights()

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
        context = self._context(x, grid)
        for layer in self.layers[:-1]:
            x = run_block(layer, x, *context, with_cp=self._recompute)
        cls_token, patches = run_block(
            self.layers[-1].branch,
            x,
            with_pooled,
            self.dense_mode if with_dense else None,
            *context,
            with_cp=self._recompute,
        )
        pooled = dense = None
        if cls_token is not None:
            pooled = self.proj(self.ln1(cls_token))
        if patches is not None:
            dense = self._to_map(self.proj(self.ln1(patches)), grid)
        return VisionFeatures(pooled, dense)

    def forward(self, img: Tensor) -> Tuple[Tensor, ...]:
        """Returns the maps of ``out_indices``, each (B, C, h, w).

        Args:
            img (Tensor): Normalised images, shape (B, 3, H, W).

        Returns:
            Tuple[Tensor, ...]: Plain outputs of the chosen blocks.
        """
        x, grid = self._embed(img)
        context = self._context(x, grid)
        maps: List[Tensor] = []
        for index, layer in enumerate(
            self.layers[: max(self.out_indices) + 1]
        ):
            x = run_block(layer, x, *context, with_cp=self._recompute)
            if index in self.out_indices:
                maps.append(self._to_map(x[:, 1:], grid))
        return tuple(maps)

    def forward_with_dense(
        self, img: Tensor
    ) -> Tuple[Tuple[Tensor, ...], Tensor]:
        """Returns the maps of ``out_indices`` and the dense map of one pass.

        Args:
            img (Tensor): Normalised images, shape (B, 3, H, W).

        Returns:
            Tuple[Tuple[Tensor, ...], Tensor]: What :meth:`forward` returns,
            maps (B, C, h, w), and the dense map of :meth:`encode`,
            (B, D, h, w), not normalised.
        """
        x, grid = self._embed(img)
        context = self._context(x, grid)
        maps: List[Tensor] = []
        for index, layer in enumerate(self.layers):
            before = x
            if index + 1 < self.num_layers or index in self.out_indices:
                x = run_block(layer, x, *context, with_cp=self._recompute)
            if index in self.out_indices:
                maps.append(self._to_map(x[:, 1:], grid))
        _, patches = run_block(
            self.layers[-1].branch,
            before,
            False,
            self.dense_mode,
            *context,
            with_cp=self._recompute,
        )
        dense = self._to_map(self.proj(self.ln1(patches)), grid)
        return tuple(maps), dense

    def train(self, mode: bool = True) -> BaseModule:
        """Sets the mode; frozen blocks stay in evaluation mode."""
        super().train(mode)
        for layer in self.layers[: max(self.frozen_stages, 0)]:
            layer.eval()
        return self  # mmpretrain's backbones return None here

    def get_layer_depth(
        self, param_name: str, prefix: str = ''
    ) -> Tuple[int, int]:
        """Depth of a parameter, for layer-wise decay of the learning rate.

        Args:
            param_name (str): Name of the parameter.
            prefix (str): Prefix of this tower's parameters.

        Returns:
            Tuple[int, int]: Its depth, 0 for the stem, and their number.
        """
        if param_name.startswith(f'{prefix}pre_norm'):
            # mmpretrain would count the stem's norm among the last layers.
            return 0, self.num_layers + 2
        return super().get_layer_depth(param_name, prefix)

    @property
    def _recompute(self) -> bool:
        return self.with_cp and self.training

    @abstractmethod
    def _draw_weights(self) -> None:
        """Draws weights as the reference of the architecture does."""

    def _context(self, x: Tensor, grid: Tuple[int, int]) -> Tuple[Tensor, ...]:
        """Arguments of the blocks beside the tokens x on a grid (h, w)."""
        return ()

    @staticmethod
    def _to_map(patches: Tensor, grid: Tuple[int, int]) -> Tensor:
        """Patches (B, h * w, C) as a map (B, C, h, w).

        Contiguous, because mmcv's RoIAlign reads memory as if it were, and
        gives other locations' features where it is not.
        """
        return patches.transpose(1, 2).unflatten(2, grid).contiguous()

    def _embed(self, img: Tensor) -> Tuple[Tensor, Tuple[int, int]]:
        """Tokens (B, 1 + h * w, C) after the first norm, and (h, w)."""
        x, grid = self.patch_embed(img)
        grid = tuple(int(side) for side in grid)
        x = torch.cat([self.cls_token.expand(len(x), -1, -1), x], dim=1)
        x = x + resize_pos_embed(self.pos_embed, self.patch_resolution, grid)
        return self.pre_norm(x), grid

    def _existing_blocks(self, indices: Union[int, Sequence[int]]) -> List:
        """Indices of blocks counted from 0; negative ones from the end."""
        if isinstance(indices, int):
            indices = [indices]
        depth = self.num_layers
        wrong = [index for index in indices if not -depth <= index < depth]
        if wrong or not indices:
            raise ValueError(
                f'out_indices {list(indices)} must name some of the {depth} '
                f'blocks of this {type(self).__name__}, 0 to {depth - 1}.'
            )
        return [index % depth for index in indices]

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
