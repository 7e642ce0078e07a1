"""What a vision tower of open_clip has to answer, so that we can read it."""

from abc import ABC, abstractmethod
from typing import Any, NamedTuple, Optional, Sequence, Tuple

import torch
import torch.nn.functional as F
from mmengine.utils import to_2tuple
from torch import Tensor, nn

Grid = Tuple[int, int]


class Embedded(NamedTuple):
    """Input of the first block.

    Attributes:
        tokens (Tensor): For transformers (B, prefix + h * w, C), prefix
            tokens first; for convolutional towers a map (B, C, h', w').
        grid (Tuple[int, int]): Rows and columns (h, w) of the dense map.
        context (Any): What the blocks need beside the tokens (rotary
            angles), or None.
    """

    tokens: Tensor
    grid: Grid
    context: Any = None


class Family(ABC):
    """How towers of one kind embed, pool, and end in the joint space.

    An adapter without weights: the tower stays open_clip's, and this reads
    it. One file a family; :func:`family_of` finds it by the tower's class.

    The dense map follows one rule for all families: the last step that mixes
    locations into the image embedding is applied to each location alone. For
    a CLS token that step is the attention of the last block, whose value path
    is left (MaskCLIP, arXiv 2112.01071, section 3.2, with residual and MLP as
    in CLIPSelf, arXiv 2310.01403); for an attention pool the intact pool on a
    sequence of one, where softmax is 1; for an average the location itself.

    Args:
        visual (nn.Module): The tower.

    Attributes:
        name (str): Title of the family.
        pool_name (str): ``'cls'``, ``'average'`` or ``'attention'``.
        blocks (Sequence[nn.Module]): The blocks, or stages of a convolutional
            tower.
        patch_size (int): Pixels a side of a cell of the dense map.
        block_dims (Tuple[int, ...]): Width of each block's output.
        attention_pool (nn.Module, optional): The attention pool, where there
            is one.
        stem (Tuple[str, ...]): Starts of the names of parameters that stand
            before the first block.
        block_names (Tuple[str, ...]): Start of the names of each block's
            parameters, in order.
        pos_embed (str, optional): Name of the position embeddings.
        pool_for_many (Tuple[str, ...]): Starts of the names of an attention
            pool's parameters that do nothing for a location alone.
    """

    name: str
    pool_name: str
    blocks: Sequence[nn.Module]
    patch_size: int
    block_dims: Tuple[int, ...]
    attention_pool: Optional[nn.Module] = None
    stem: Tuple[str, ...]
    block_names: Tuple[str, ...]
    pos_embed: Optional[str] = None
    pool_for_many: Tuple[str, ...] = ()

    def __init__(self, visual: nn.Module) -> None:
        self.visual = visual

    @classmethod
    @abstractmethod
    def reads(cls, visual: nn.Module) -> bool:
        """Whether a tower is of this family."""

    def fit(self, img: Tensor) -> Tensor:
        """Makes images (B, 3, H, W) of any size whole cells.

        Of an image of the tower's own size the rest at the right and bottom
        is cut off, as open_clip does (384 px are 27 cells of 14); others are
        zero-padded there, so that every box lies on the map.
        """
        side, (height, width) = self.patch_size, img.shape[-2:]
        native = to_2tuple(self.visual.image_size)
        if (height, width) == tuple(native):
            return img[..., : height // side * side, : width // side * side]
        down, right = -height % side, -width % side
        return F.pad(img, (0, right, 0, down)) if down or right else img

    @abstractmethod
    def embed(self, img: Tensor) -> Embedded:
        """Input of the first block for images (B, 3, H, W) of any size."""

    @abstractmethod
    def pool(self, x: Tensor) -> Tensor:
        """Image embeddings (B, D) from the last block's output."""

    @abstractmethod
    def to_joint(
        self, x: Tensor, attention_pool: Optional[nn.Module] = None
    ) -> Tensor:
        """Each location of the last block's output in the joint space.

        Args:
            x (Tensor): Patches (B, N, C), or a map (B, C, h, w) of a
                convolutional tower.
            attention_pool (nn.Module, optional): A pool in place of the
                tower's own.

        Returns:
            Tensor: (B, N, D), or a map (B, D, h, w).
        """

    def token_to_joint(self, x: Tensor) -> Tensor:
        """As :meth:`to_joint`, past the pool: final norm and projection."""
        return self.to_joint(x)


class TransformerFamily(Family):
    """A pre-norm transformer whose blocks are opened at their attention.

    Attributes:
        prefix (int): Tokens before the patches.
    """

    prefix: int

    def set_blocks(
        self, blocks: Sequence[nn.Module], start: str, dims: int
    ) -> None:
        """Takes blocks of one width, whose parameters' names start so."""
        self.blocks = blocks
        self.block_dims = (dims,) * len(blocks)
        self.block_names = tuple(f'{start}{i}.' for i in range(len(blocks)))

    @abstractmethod
    def project(
        self,
        block: nn.Module,
        x: Tensor,
        context: Any = None,
        first_query_only: bool = False,
    ) -> Tuple[Tensor, Tensor, Tensor]:
        """Queries, keys, values of a block's input (B, T, C).

        The block's first norm is applied here, and so are positions. Each is
        (B, heads, T, C / heads); the query has the first token alone if so
        asked.
        """

    @abstractmethod
    def finish(self, block: nn.Module, x: Tensor, mixed: Tensor) -> Tensor:
        """All of a block that follows attention.

        Args:
            block (nn.Module): The block.
            x (Tensor): Its input, (B, T, C).
            mixed (Tensor): Mixed values of the same tokens, (B, heads, T,
                C / heads).

        Returns:
            Tensor: Its output, (B, T, C).
        """


def split_heads(x: Tensor, num_heads: int) -> Tensor:
    """Splits tokens (B, T, C) into heads (B, heads, T, C / heads)."""
    return x.unflatten(-1, (num_heads, -1)).transpose(1, 2)


def joint_qkv(
    x: Tensor,
    weight: Tensor,
    bias: Optional[Tensor],
    first_query_only: bool = False,
) -> Tuple[Tensor, Tensor, Tensor]:
    """Applies the joint layer of queries, keys and values of an attention.

    Args:
        x (Tensor): Tokens, shape (B, T, C).
        weight (Tensor): Weight of the layer, shape (3 D, C).
        bias (Tensor, optional): Its bias, shape (3 D,).
        first_query_only (bool): Whether only the first token asks. Defaults
            to False.

    Returns:
        Tuple[Tensor, Tensor, Tensor]: Queries, keys and values (B, T, D); T
        is 1 of queries of the first alone.
    """
    if not first_query_only:
        return F.linear(x, weight, bias).chunk(3, dim=-1)
    dims = len(weight) // 3
    biases = (None, None) if bias is None else (bias[:dims], bias[dims:])
    query = F.linear(x[:, :1], weight[:dims], biases[0])
    key, value = F.linear(x, weight[dims:], biases[1]).chunk(2, dim=-1)
    return query, key, value


def resize_pos_embed(
    pos_embed: Tensor, source: Grid, target: Grid, prefix: int
) -> Tensor:
    """Resizes a grid of position embeddings as open_clip and timm do.

    Bicubic with antialiasing and without aligned corners (open_clip,
    ``open_clip/model.py``: ``resize_pos_embed``); those of prefix tokens are
    kept. Grids are compared, not their sizes: 8 x 18 is not 12 x 12.

    Args:
        pos_embed (Tensor): Embeddings, shape (E + h * w, C).
        source (Tuple[int, int]): Grid (h, w) that they were learned at.
        target (Tuple[int, int]): Grid wanted.
        prefix (int): Number E of leading tokens that have no place in it.

    Returns:
        Tensor: Embeddings, shape (E + h' * w', C).
    """
    if tuple(source) == tuple(target):
        return pos_embed
    grid = pos_embed[prefix:].unflatten(0, source).permute(2, 0, 1)[None]
    # float32: antialiased bicubic is not implemented for half precision on
    # CPUs, and rounding positions buys nothing.
    dtype = grid.dtype
    grid = F.interpolate(
        grid if dtype == torch.float64 else grid.float(),
        size=target,
        mode='bicubic',
        align_corners=False,
        antialias=True,
    )
    grid = grid[0].flatten(1).t().to(dtype)
    return torch.cat([pos_embed[:prefix], grid])
