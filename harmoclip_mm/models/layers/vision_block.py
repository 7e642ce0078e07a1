"""Vision blocks that can serve the CLS token and the patches apart."""

from typing import Callable, Optional, Tuple

import torch.nn.functional as F
from mmpretrain.models.backbones.vision_transformer import (
    TransformerEncoderLayer,
)
from torch import Tensor

DENSE_MODES = ('value', 'token', 'qq+kk')


def split_heads(x: Tensor, num_heads: int) -> Tensor:
    """Splits tokens (B, L, C) into heads (B, heads, L, C / heads)."""
    return x.unflatten(-1, (num_heads, -1)).transpose(1, 2)


class BranchingMixin:
    """Branches of a pre-norm block for the CLS token and for the patches.

    Only the last block of a CLIP tower has two uses: attention gathers the
    image into its CLS token, and the patches become the dense map. The two
    outputs share the projections of the input and nothing else, so each is
    computed for its own tokens only: the CLS branch has one query, and the
    dense branch of mode ``'value'`` has no attention at all.

    A block brings ``ln1`` and

    - ``_project(x, cls_query_only, *context)``: queries, keys and values of
      the normed tokens, each (B, heads, tokens, C / heads), positions
      applied; queries of the CLS token alone if so asked;
    - ``_finish(x, attended)``: all that follows attention, from mixed values
      (B, heads, tokens, C / heads) to the block's output (B, tokens, C).

    ``context`` is what the tower hands to its blocks beside the tokens, such
    as rotary angles. Dropout of attention weights is not applied here, since
    CLIP has none.
    """

    def forward(
        self,
        x: Tensor,
        *context: Tensor,
        attend: Optional[Callable[..., Tensor]] = None,
    ) -> Tensor:
        """Runs the plain block.

        Args:
            x (Tensor): Tokens, CLS first, shape (B, 1 + N, C).
            *context (Tensor): What the tower hands to its blocks.
            attend (Callable, optional): Mixes the values; takes queries,
                keys and values. Defaults to full attention.

        Returns:
            Tensor: Tokens, shape (B, 1 + N, C).
        """
        attend = attend or F.scaled_dot_product_attention
        query, key, value = self._project(self.ln1(x), False, *context)
        return self._finish(x, attend(query, key, value))

    def branch(
        self,
        x: Tensor,
        with_cls: bool,
        dense_mode: Optional[str],
        *context: Tensor,
    ) -> Tuple[Optional[Tensor], Optional[Tensor]]:
        """Runs the block for the outputs asked for.

        Args:
            x (Tensor): Tokens, CLS first, shape (B, 1 + N, C).
            with_cls (bool): Whether the CLS output is wanted.
            dense_mode (str, optional): How patches are mixed, one of:

                - ``'value'``: not at all, each patch keeps the projection of
                  its own value (MaskCLIP, arXiv 2112.01071, section 3.2;
                  with residual and MLP as in CLIPSelf, arXiv 2310.01403).
                - ``'token'``: the plain last layer.
                - ``'qq+kk'``: self-self attention, the sum of the
                  query-query and key-key softmax applied to the values
                  (SCLIP, arXiv 2312.01597, section 3.2).
                - None: the patches are not wanted.
            *context (Tensor): As of :meth:`forward`.

        Returns:
            Tuple[Optional[Tensor], Optional[Tensor]]: The CLS token (B, C)
            and the patches (B, N, C), None where not wanted.
        """
        if dense_mode == 'token':
            x = self(x, *context)
            return (x[:, 0] if with_cls else None), x[:, 1:]
        query, key, value = self._project(
            self.ln1(x), dense_mode != 'qq+kk', *context
        )
        cls_token = patches = None
        if with_cls:
            out = F.scaled_dot_product_attention(query[:, :, :1], key, value)
            cls_token = self._finish(x[:, :1], out)[:, 0]
        if dense_mode == 'value':
            patches = self._finish(x[:, 1:], value[:, :, 1:])
        elif dense_mode == 'qq+kk':
            attend = F.scaled_dot_product_attention
            out = attend(query[:, :, 1:], query, value)
            out = out + attend(key[:, :, 1:], key, value)
            patches = self._finish(x[:, 1:], out)
        return cls_token, patches


class BranchingEncoderLayer(BranchingMixin, TransformerEncoderLayer):
    """mmpretrain's ``TransformerEncoderLayer`` with :meth:`branch`.

    The parameters and the results of ``forward`` are those of mmpretrain;
    its attention indexes the stacked projections, whose backward fills three
    arrays with zeros where splitting them needs one concatenation.
    """

    def _project(
        self, x: Tensor, cls_query_only: bool
    ) -> Tuple[Tensor, Tensor, Tensor]:
        dims, heads = self.embed_dims, self.attn.num_heads
        linear = self.attn.qkv
        if not cls_query_only:
            parts = linear(x).chunk(3, dim=-1)
            return tuple(split_heads(each, heads) for each in parts)
        q_bias = None if linear.bias is None else linear.bias[:dims]
        kv_bias = None if linear.bias is None else linear.bias[dims:]
        query = F.linear(x[:, :1], linear.weight[:dims], q_bias)
        key_value = F.linear(x, linear.weight[dims:], kv_bias)
        key, value = key_value.split(dims, dim=-1)
        return tuple(split_heads(each, heads) for each in (query, key, value))

    def _finish(self, x: Tensor, attended: Tensor) -> Tensor:
        attn = self.attn
        out = attn.proj(attended.transpose(1, 2).flatten(-2))
        x = x + attn.out_drop(attn.gamma1(attn.proj_drop(out)))
        return self.ffn(self.ln2(x), identity=x)
