"""The vision transformer of EVA-02-CLIP.

Its parameters, and what they are called elsewhere: in timm (and so, below
``visual.trunk.``, in open_clip) and in EVA-CLIP's own repository (below
``visual.``, there as in CLIPSelf and FineCLIP). An empty cell is the cell to
its left; ``N`` is the number of a block.

===============================  ==========================  ================
here                             timm                        EVA-CLIP
===============================  ==========================  ================
``cls_token``, ``pos_embed``
``patch_embed.projection.*``     ``patch_embed.proj.*``
``layers.N.ln1.*``               ``blocks.N.norm1.*``
``layers.N.q_proj.weight``       ``blocks.N.attn.q_proj.w*``
``layers.N.q_proj.bias``         ``blocks.N.attn.q_proj.b*`` ``attn.q_bias``
``layers.N.k_proj.weight``       ``blocks.N.attn.k_proj.w*``
``layers.N.v_proj.weight``       ``blocks.N.attn.v_proj.w*``
``layers.N.v_proj.bias``         ``blocks.N.attn.v_proj.b*`` ``attn.v_bias``
``layers.N.attn_norm.*``         ``blocks.N.attn.norm.*``    ``inner_attn_ln``
``layers.N.proj.*``              ``blocks.N.attn.proj.*``
``layers.N.ln2.*``               ``blocks.N.norm2.*``
``layers.N.ffn.w12.*``, first    ``blocks.N.mlp.fc1_g.*``    ``mlp.w1``
``layers.N.ffn.w12.*``, second   ``blocks.N.mlp.fc1_x.*``    ``mlp.w2``
``layers.N.ffn.norm.*``          ``blocks.N.mlp.norm.*``     ``mlp.ffn_ln``
``layers.N.ffn.w3.*``            ``blocks.N.mlp.fc2.*``      ``mlp.w3``
``ln1.*``                        ``norm.*``
``proj.*``                       ``head.*``
===============================  ==========================  ================

Rotary angles are no parameters: a ``rope`` entry of a checkpoint is dropped.
"""

from typing import Dict, Optional, Sequence, Tuple, Union

from mmpretrain.models import ViTEVA02
from torch import Tensor, nn

from harmoclip_mm.registry import MODELS

from ..layers import EVA02Block, rotary_angles
from .clip_vision_tower import CLIPVisionTower


@MODELS.register_module()
class HarmoCLIPEVA02(CLIPVisionTower):
    """EVA-02-CLIP's vision transformer.

    Layout of EVA-02-CLIP (arXiv 2303.15389): learned and rotary position
    embeddings together, SwiGLU MLPs, norms inside attention and MLP, layer
    norms of epsilon 1e-6, no norm before the blocks, and a projection to the
    joint space with a bias. ``encode`` and ``forward`` are described in
    :class:`CLIPVisionTower`.

    The dense map of mode ``'value'`` is CLIPSelf's (arXiv 2310.01403): the
    value of each patch goes through the norm inside the attention and its
    projection, then through the MLP. Rotary embeddings have no part in it,
    since they turn queries and keys alone; in mode ``'qq+kk'`` queries and
    keys are the turned ones, so that nearer patches of equal content count
    for more, as they do in the attention that was trained.

    Rotary positions are scaled to the same 16 x 16 at any input size, as
    EVA-CLIP, open_clip and timm do. mmpretrain's ``ViTEVA02`` gives the
    names of ``arch`` only: beside the block (see :class:`EVA02Block`), its
    rotary embedding scales to another grid and keeps its angles in the state
    dict, where they depend on the last input's size.

    Args:
        arch (str | dict): Name in mmpretrain's ``ViTEVA02`` or a dict of
            ``embed_dims``, ``num_layers``, ``num_heads`` and
            ``feedforward_channels``. Defaults to ``'base'``.
        img_size (int | Tuple[int, int]): Input size in pixels that the
            position embeddings belong to. Defaults to 224.
        patch_size (int): Side of a patch in pixels. Defaults to 16.
        out_dims (int): Width D of the joint space. Defaults to 512.
        dense_mode (str): How the last block makes the dense map, see
            :meth:`BranchingMixin.branch`. Defaults to ``'value'``.
        rope_ref_side (int): Side of the grid that rotary positions are
            scaled to, see :func:`rotary_angles`. Defaults to 16.
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
            ``window_size`` is negative, ``out_indices``, ``global_indices``
            or ``frozen_stages`` name blocks that do not exist, or the width
            of a head is not a multiple of 4.
    """

    arch_zoo = ViTEVA02.arch_zoo

    def __init__(
        self,
        arch: Union[str, Dict] = 'base',
        img_size: Union[int, Tuple[int, int]] = 224,
        patch_size: int = 16,
        out_dims: int = 512,
        dense_mode: str = 'value',
        rope_ref_side: int = 16,
        out_indices: Union[int, Sequence[int]] = -1,
        drop_path_rate: float = 0.0,
        frozen_stages: int = -1,
        with_cp: bool = False,
        window_size: int = 0,
        global_indices: Union[int, Sequence[int], None] = None,
        init_cfg: Optional[Dict] = None,
    ) -> None:
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
            block=EVA02Block,
            block_cfg={},
            norm_cfg=dict(type='LN', eps=1e-6),
            pre_norm=False,
            proj_bias=True,
            init_cfg=init_cfg,
        )
        num_heads = self.arch_settings['num_heads']
        if self.embed_dims % (4 * num_heads):
            raise ValueError(
                f'Rotary embeddings of two axes need heads whose width is a '
                f'multiple of 4, but {self.embed_dims} channels are split '
                f'into {num_heads} heads.'
            )
        self.head_dims = self.embed_dims // num_heads
        self.rope_ref_side = rope_ref_side

    def _context(self, x: Tensor, grid: Tuple[int, int]) -> Tuple[Tensor, ...]:
        return rotary_angles(grid, self.head_dims, self.rope_ref_side, like=x)

    def _draw_weights(self) -> None:
        # Standard deviations and the scaling with depth of BEiT (arXiv
        # 2106.08254, section 2.5), which EVA-02 keeps.
        for weight in (self.cls_token, self.pos_embed, self.proj.weight):
            nn.init.trunc_normal_(weight, std=0.02)
        nn.init.zeros_(self.proj.bias)
        for depth, layer in enumerate(self.layers, 1):
            for module in layer.modules():
                if isinstance(module, nn.Linear):
                    nn.init.trunc_normal_(module.weight, std=0.02)
                    if module.bias is not None:
                        nn.init.zeros_(module.bias)
            for last in (layer.proj, layer.ffn.w3):
                last.weight.data.div_((2 * depth) ** 0.5)
