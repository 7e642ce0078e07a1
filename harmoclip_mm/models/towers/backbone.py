"""The vision tower of any CLIP: image embedding, dense map, feature maps."""

import copy
from functools import partial
from itertools import chain
from operator import attrgetter
from typing import (
    Any,
    Dict,
    List,
    NamedTuple,
    Optional,
    Sequence,
    Tuple,
    Union,
)

import torch
import torch.nn.functional as F
from mmengine.model import BaseModule
from mmengine.utils import to_2tuple
from open_clip.model import _build_vision_tower
from torch import Tensor, nn

from harmoclip_mm.errors import check_choice
from harmoclip_mm.registry import MODELS

from ..checkpoints import init_from_checkpoint
from ..layers import run_block, spread_evenly, window_attention
from .clip_spec import CLIPName, CLIPSpec, clip_spec
from .families import (
    ConvolutionalFamily,
    Embedded,
    TransformerFamily,
    family_of,
    resize_pos_embed,
)

DENSE_MODES = ('value', 'token')


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
class HarmoCLIPBackbone(BaseModule):
    """open_clip's vision tower with an image embedding and a dense map.

    ``encode`` serves CLIP: it runs all blocks but the last once and lets the
    last one branch into the image embedding and the dense map. ``forward``
    serves detectors: it returns the maps of ``out_indices`` as mmdet's
    backbones do, and ``forward_with_dense`` gives them together with the
    dense map. Any input size works, also one that is no multiple of a cell
    (it is zero-padded at the right and bottom); position embeddings are
    resized to it. The tower itself, in ``visual``, is open_clip's, with its
    names of weights.

    Args:
        clip (str | Mapping): The CLIP, see :func:`clip_spec`.
        img_size (int | Tuple[int, int], optional): Height and width in
            pixels that the position embeddings belong to. Defaults to the
            CLIP's own; weights of another size are resized when loaded.
        dense_mode (str): How the dense map is made, one of:

            - ``'value'``: the last step that mixes locations into the image
              embedding is applied to each location alone, see ``Family``.
            - ``'token'``: plain last block, final norm and projection.

            Defaults to ``'value'``.
        dense_head (str, optional): ``'copy'`` gives the dense map an
            attention pool of its own, which starts as a copy of the image
            embedding's and is trained apart (FG-CLIP 2, arXiv 2510.10921).
            Defaults to None: both share the CLIP's.
        out_indices (int | Sequence[int]): Blocks (of convolutional towers
            stages) whose maps ``forward`` returns, in this order; the last
            one is the plain output of the block, before the final norm.
            Defaults to -1.
        window_size (int): Patches per side of the attention's windows, which
            change no weight; 0 means full attention. Defaults to 0.
        global_indices (int | Sequence[int], optional): Blocks whose
            attention stays global beside the last block, which always is.
            None means the last blocks of four equal subsets of the blocks
            (ViTDet, arXiv 2203.16527, section 3).
        frozen_stages (int): Number of leading blocks to freeze together with
            the embeddings; -1 freezes nothing. Defaults to -1.
        with_cp (bool): Recompute the blocks' activations in the backward.
            Defaults to False.
        init_cfg (dict, optional): Initialisation config. Type ``Pretrained``
            reads CLIP checkpoints of every format, see
            :func:`init_from_checkpoint`.

    Attributes:
        spec (CLIPSpec): What the name of the CLIP says.
        visual (nn.Module): open_clip's tower.
        out_dims (int): Width D of the joint space.
        block_dims (Tuple[int, ...]): Widths of the maps of all blocks.
        patch_size (int): Pixels a side of a cell of the dense map.

    Raises:
        UsageError: If the CLIP is not known, or its tower of a kind that
            cannot be opened.
        ValueError: If an argument does not fit the tower.
    """

    def __init__(
        self,
        clip: CLIPName,
        img_size: Union[int, Tuple[int, int], None] = None,
        dense_mode: str = 'value',
        dense_head: Optional[str] = None,
        out_indices: Union[int, Sequence[int]] = -1,
        window_size: int = 0,
        global_indices: Union[int, Sequence[int], None] = None,
        frozen_stages: int = -1,
        with_cp: bool = False,
        init_cfg: Optional[Dict] = None,
    ) -> None:
        super().__init__(init_cfg)
        self.spec = clip_spec(clip)
        self.img_size = tuple(to_2tuple(img_size or self.spec.img_size))
        self.visual = build_visual(self.spec, self.img_size)
        self.family = family = family_of(self.visual, self.spec.name)
        self.out_dims = self.spec.embed_dim
        self.block_dims = family.block_dims
        self.patch_size = family.patch_size
        self.num_layers = len(family.blocks)
        self.with_cp = with_cp
        self.dense_mode = dense_mode
        self.out_indices = self._existing('out_indices', out_indices)
        self.window_size = window_size
        if global_indices is None:
            global_indices = spread_evenly(self.num_layers)
        self.global_indices = {
            *self._existing('global_indices', global_indices),
            self.num_layers - 1,
        }
        self.frozen_stages = frozen_stages
        self._check_arguments(dense_head)
        self.dense_pool = None
        if dense_head == 'copy':
            self.dense_pool = copy.deepcopy(family.attention_pool)
            for name, weight in self.dense_pool.named_parameters():
                if name.startswith(family.pool_for_many):
                    weight.requires_grad_(False)
        self._register_load_state_dict_pre_hook(_fit, with_module=True)
        self._freeze()

    def _check_arguments(self, dense_head: Optional[str]) -> None:
        name, family = type(self).__name__, self.family
        transformer = isinstance(family, TransformerFamily)
        check_choice(name, 'dense_mode', self.dense_mode, DENSE_MODES)
        check_choice(name, 'dense_head', dense_head, (None, 'copy'))
        if dense_head and family.attention_pool is None:
            raise ValueError(
                f"dense_head='copy' copies an attention pool, which "
                f'{self.spec.name} ({family.name}) has not.'
            )
        if not self.out_indices:
            raise ValueError(f'{name} needs at least one of out_indices.')
        if self.window_size < 0 or (self.window_size and not transformer):
            raise ValueError(
                f'window_size {self.window_size} of {name} must be a number '
                'of patches, or 0 for full attention; convolutional towers '
                'have none.'
            )
        if self.frozen_stages > self.num_layers:
            raise ValueError(
                f'frozen_stages {self.frozen_stages} is more than the '
                f'{self.num_layers} blocks of {self.spec.name}.'
            )

    def init_weights(self) -> None:
        """Loads what ``init_cfg`` names; open_clip has drawn the rest."""
        init_from_checkpoint(self, 'backbone.')

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
        if not (with_pooled or with_dense):
            return VisionFeatures(None, None)
        return self._forward(img, (), with_pooled, with_dense)[1]

    def forward(self, img: Tensor) -> Tuple[Tensor, ...]:
        """Returns the maps of ``out_indices``, each (B, C, h, w).

        Args:
            img (Tensor): Normalised images, shape (B, 3, H, W).

        Returns:
            Tuple[Tensor, ...]: Plain outputs of the chosen blocks.
        """
        return self._forward(img, self.out_indices, False, False)[0]

    def forward_with_dense(
        self, img: Tensor
    ) -> Tuple[Tuple[Tensor, ...], Tensor]:
        """Returns the maps of ``out_indices`` and the dense map together.

        All blocks but the last run once for both; the last one runs plainly
        only if its map, or a pool behind it, is asked for.

        Args:
            img (Tensor): Normalised images, shape (B, 3, H, W).

        Returns:
            Tuple[Tuple[Tensor, ...], Tensor]: What :meth:`forward` returns,
            each (B, C, h, w), and the dense map (B, D, h, w) of
            :meth:`encode`, not normalised; all contiguous.
        """
        maps, found = self._forward(img, self.out_indices, False, True)
        return maps, found.dense

    def train(self, mode: bool = True) -> 'HarmoCLIPBackbone':
        """Sets the mode; what is frozen stays in evaluation mode, so that
        its statistics of batches do not change either."""
        super().train(mode)
        for module in self.modules():
            if module.training and _is_frozen(module):
                module.eval()
        return self

    def get_layer_depth(
        self, param_name: str, prefix: str = ''
    ) -> Tuple[int, int]:
        """Depth of a parameter, for layer-wise decay of the learning rate.

        Args:
            param_name (str): Name of the parameter.
            prefix (str): Prefix of this tower's parameters.

        Returns:
            Tuple[int, int]: Its depth, 0 for what stands before the first
            block, and their number; what follows the blocks is the last.
        """
        depths = self.num_layers + 2
        prefix = f'{prefix}visual.'
        if param_name.startswith(prefix):
            name = param_name[len(prefix) :]
            if name.startswith(self.family.stem):
                return 0, depths
            for index, block in enumerate(self.family.block_names):
                if name.startswith(block):
                    return index + 1, depths
        return depths - 1, depths

    @property
    def dtype(self) -> torch.dtype:
        """torch.dtype: That of the weights."""
        # those of a frozen teacher are buffers
        weights = chain(self.visual.parameters(), self.visual.buffers())
        return next(weights).dtype

    @property
    def _recompute(self) -> bool:
        return self.with_cp and self.training

    @property
    def _dense_is_plain(self) -> bool:
        """Whether the dense map is made of the plain last block."""
        return self.dense_mode == 'token' or self.family.pool_name != 'cls'

    def _forward(
        self,
        img: Tensor,
        out_indices: Sequence[int],
        with_pooled: bool,
        with_dense: bool,
    ) -> Tuple[Tuple[Tensor, ...], VisionFeatures]:
        """Maps of ``out_indices``, image embedding and dense map in one pass.

        The last block runs plainly only for what is made of its plain
        output. What CLS and the value path make of it share the projections
        of its input and nothing else, so each is computed for its own tokens:
        CLS has one query, and the value path no attention at all.
        """
        family, last = self.family, self.num_layers - 1
        plain_dense = with_dense and self._dense_is_plain
        plain_pooled = with_pooled and family.pool_name != 'cls'
        opened = (with_pooled, with_dense) != (plain_pooled, plain_dense)
        ends = plain_dense or plain_pooled or last in out_indices
        # a tower in half precision gets float32 from the preprocessor, too
        embedded = family.embed(img.to(self.dtype))
        before = x = embedded.tokens
        maps: Dict[int, Tensor] = {}
        pooled = dense = None
        depth = last if with_pooled or with_dense else max(out_indices)
        for index in range(depth + 1):
            if index == last and not ends:
                break
            before, x = x, self._run(index, x, embedded)
            if index in out_indices:
                maps[index] = self._grid_of(self._locations(x), embedded)
        if opened:
            cls_token, patches = run_block(
                self._open_block,
                family.blocks[-1],
                before if ends else x,
                embedded.context,
                with_pooled and not plain_pooled,
                with_dense and not plain_dense,
                with_cp=self._recompute,
            )
            if cls_token is not None:
                pooled = family.pool(cls_token)
            if patches is not None:
                dense = family.to_joint(patches, self.dense_pool)
        if plain_pooled:
            pooled = family.pool(x)
        if plain_dense:
            if self.dense_mode == 'token':
                dense = family.token_to_joint(self._locations(x))
            else:
                dense = family.to_joint(self._locations(x), self.dense_pool)
        if dense is not None:
            dense = self._grid_of(dense, embedded)
        asked = tuple(maps[index] for index in out_indices)
        return asked, VisionFeatures(pooled, dense)

    def _run(self, index: int, x: Tensor, embedded: Embedded) -> Tensor:
        """Output of a block for its input x."""
        block = self.family.blocks[index]
        if isinstance(self.family, ConvolutionalFamily):
            return run_block(block, x, with_cp=self._recompute)
        attend = F.scaled_dot_product_attention
        if self.window_size and index not in self.global_indices:
            attend = partial(
                window_attention,
                grid=embedded.grid,
                window_size=self.window_size,
                prefix=self.family.prefix,
            )
        return run_block(
            self._plain_block,
            block,
            x,
            embedded.context,
            attend,
            with_cp=self._recompute,
        )

    def _plain_block(
        self, block: nn.Module, x: Tensor, context: Any, attend: Any
    ) -> Tensor:
        parts = self.family.project(block, x, context)
        return self.family.finish(block, x, attend(*parts))

    def _open_block(
        self,
        block: nn.Module,
        x: Tensor,
        context: Any,
        with_cls: bool,
        with_patches: bool,
    ) -> Tuple[Optional[Tensor], Optional[Tensor]]:
        """CLS (B, 1, C) and patches (B, N, C) of the opened last block."""
        family, start = self.family, self.family.prefix
        query, key, value = family.project(
            block, x, context, first_query_only=True
        )
        cls_token = patches = None
        if with_cls:
            mixed = F.scaled_dot_product_attention(query, key, value)
            cls_token = family.finish(block, x[:, :1], mixed)
        if with_patches:
            mixed = value[:, :, start:]
            patches = family.finish(block, x[:, start:], mixed)
        return cls_token, patches

    def _locations(self, x: Tensor) -> Tensor:
        """Output of a block without the tokens before the patches."""
        if isinstance(self.family, ConvolutionalFamily):
            return x
        return x[:, self.family.prefix :]

    def _grid_of(self, x: Tensor, embedded: Embedded) -> Tensor:
        """Patches (B, h * w, C) as a map (B, C, h, w).

        Contiguous, because mmcv's RoIAlign reads memory as if it were, and
        gives other locations' features where it is not.
        """
        if x.dim() == 3:
            x = x.transpose(1, 2).unflatten(2, embedded.grid)
        return x.contiguous()

    def _freeze(self) -> None:
        if self.frozen_stages < 0:
            return
        start = self.family.stem
        start += self.family.block_names[: self.frozen_stages]
        for name, weight in self.visual.named_parameters():
            if name.startswith(start):
                weight.requires_grad_(False)

    def _existing(
        self, argument: str, indices: Union[int, Sequence[int]]
    ) -> List[int]:
        """Indices of blocks counted from 0; negative ones from the end."""
        if isinstance(indices, int):
            indices = [indices]
        depth = self.num_layers
        if any(not -depth <= index < depth for index in indices):
            raise ValueError(
                f'{argument} {list(indices)} must name some of the {depth} '
                f'blocks of {self.spec.name}, 0 to {depth - 1}.'
            )
        return [index % depth for index in indices]


def _is_frozen(module: nn.Module) -> bool:
    """Whether a module has parameters and none of them is trained."""
    weights = [weight.requires_grad for weight in module.parameters()]
    return bool(weights) and not any(weights)


def build_visual(
    spec: CLIPSpec, img_size: Optional[Tuple[int, int]] = None
) -> nn.Module:
    """Builds open_clip's vision tower of a CLIP, without its weights.

    Args:
        spec (CLIPSpec): The CLIP.
        img_size (Tuple[int, int], optional): Height and width in pixels that
            its position embeddings belong to. Defaults to the CLIP's own.
    """
    # A map has all of its patches: none is dropped in training.
    untrained = dict(timm_model_pretrained=False, patch_dropout=0.0)
    cfg = dict(spec.model_cfg['vision_cfg'], **untrained)
    own = to_2tuple(cfg.get('image_size', 224))
    img_size = to_2tuple(img_size or own)
    square = img_size[0] == img_size[1]
    if isinstance(cfg.get('layers'), (list, tuple)) and not square:
        raise ValueError(
            f'img_size {img_size} of {spec.name} must be a square, as the '
            'positions of its attention pool are; inputs may have any size.'
        )
    cfg['image_size'] = img_size[0] if square else img_size
    visual = _build_vision_tower(
        spec.embed_dim, cfg, bool(spec.model_cfg.get('quick_gelu', False))
    )
    trunk = getattr(visual, 'trunk', None)
    if hasattr(trunk, 'set_input_size'):
        grid = getattr(trunk.patch_embed, 'img_size', None)
        if grid is not None and tuple(grid) != img_size:
            trunk.set_input_size(img_size)
    return visual


def _fit(
    backbone: HarmoCLIPBackbone,
    state_dict: Dict[str, Tensor],
    prefix: str,
    *args: Any,
) -> None:
    """Lets weights of another input size, or without a dense pool, fit.

    A hook of the loading, which changes its copy of the state dict.
    """
    family, visual = backbone.family, f'{prefix}visual.'
    if family.pos_embed is not None:
        name = visual + family.pos_embed
        saved = state_dict.get(name)
        # A parameter, or a buffer in a frozen teacher.
        own = attrgetter(family.pos_embed)(backbone.visual)
        if saved is not None and saved.shape != own.shape:
            state_dict[name] = _resized(saved, own, backbone)
    if backbone.dense_pool is None:
        return
    pool = next(
        name
        for name, module in backbone.visual.named_modules()
        if module is family.attention_pool
    )
    for name in backbone.dense_pool.state_dict():
        source, target = f'{visual}{pool}.{name}', f'{prefix}dense_pool.{name}'
        if target not in state_dict and source in state_dict:
            state_dict[target] = state_dict[source].clone()


def _resized(
    saved: Tensor, own: Tensor, backbone: HarmoCLIPBackbone
) -> Tensor:
    """Saved position embeddings at the grid of the tower's own.

    A saved grid is square, as those of all CLIPs are; if it cannot be, they
    are returned as they are, for the loading to refuse.
    """
    family = backbone.family
    rows = own.shape[-2]
    target = tuple(side // family.patch_size for side in backbone.img_size)
    prefix = rows - target[0] * target[1]
    side = round((saved.shape[-2] - prefix) ** 0.5)
    if side * side + prefix != saved.shape[-2] or (
        saved.shape[-1] != own.shape[-1]
    ):
        return saved
    flat = saved.reshape(-1, saved.shape[-1])
    flat = resize_pos_embed(flat, (side, side), target, prefix)
    return flat.reshape(*saved.shape[:-2], *flat.shape)
