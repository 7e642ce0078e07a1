"""The vision transformer of OpenAI's CLIP."""

from typing import Dict, Optional, Sequence, Tuple, Union

from torch import nn

from harmoclip_mm.registry import MODELS

from ..layers import BranchingEncoderLayer
from .clip_vision_tower import CLIPVisionTower


@MODELS.register_module()
class HarmoCLIPViT(CLIPVisionTower):
    """CLIP's vision transformer.

    Layout of OpenAI's CLIP (arXiv 2103.00020): a patch embedding without
    bias, layer norms of epsilon 1e-5 before and after the blocks, and a
    linear projection to the joint space. ``encode`` and ``forward`` are
    described in :class:`CLIPVisionTower`.

    Args:
        arch (str | dict): Name in mmpretrain's ``VisionTransformer`` or a
            dict of ``embed_dims``, ``num_layers``, ``num_heads`` and
            ``feedforward_channels``. Defaults to ``'base'``.
        img_size (int | Tuple[int, int]): Input size in pixels that the
            position embeddings belong to. Defaults to 224.
        patch_size (int): Side of a patch in pixels. Defaults to 16.
        out_dims (int): Width D of the joint space. Defaults to 512.
        dense_mode (str): How the last block makes the dense map, see
            :meth:`BranchingMixin.branch`. Defaults to ``'value'``.
        act_cfg (dict): Activation of the MLPs. Defaults to
            ``harmoclip_mm.QuickGELU``, which OpenAI's weights need.
        out_indices (Sequence[int] | int): Blocks whose maps ``forward``
            returns; the last one is the plain output of the block, before
            the final norm. Defaults to -1.
        drop_path_rate (float): Stochastic depth. Defaults to 0.
        frozen_stages (int): Number of leading blocks to freeze together with
            the embeddings; -1 freezes nothing. Defaults to -1.
        with_cp (bool): Recompute the blocks' activations in the backward.
            Defaults to False.
        window_size (int): Patches per side of the attention's windows; 0
            means full attention. Defaults to 0.
        global_indices (Sequence[int] | int, optional): Blocks whose
            attention stays global beside the last one, which always is.
            Defaults to the last blocks of four equal subsets, as in ViTDet.
        init_cfg (dict, optional): Initialisation config.

    Raises:
        ValueError: If ``arch`` or ``dense_mode`` is unknown,
            ``window_size`` is negative, or ``out_indices``,
            ``global_indices`` or ``frozen_stages`` name blocks that do not
            exist.
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
        window_size: int = 0,
        global_indices: Union[int, Sequence[int], None] = None,
        init_cfg: Optional[Dict] = None,
    ) -> None:
        act_cfg = act_cfg or dict(type='harmoclip_mm.QuickGELU')
        super().__init__(
            arch=arch,
            img_size=img_size,
            patch_size=patch_size,
            out_dims=out_dims,
            dense_mode=dense_mode,
            out_indices=out_indices,
            drop_path_rate=drop_path_rate,
            frozen_stages=frozen_stages,
            with_cp=with_cp,
            window_size=window_size,
            global_indices=global_indices,
            block=BranchingEncoderLayer,
            block_cfg=dict(act_cfg=act_cfg),
            norm_cfg=dict(type='LN', eps=1e-5),
            pre_norm=True,
            proj_bias=False,
            init_cfg=init_cfg,
        )

    def _draw_weights(self) -> None:
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
