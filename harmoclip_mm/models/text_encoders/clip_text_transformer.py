"""CLIP's text transformer, with every token in the joint space."""

from typing import Dict, NamedTuple, Optional, Tuple

import torch
from mmengine.model import BaseModule, ModuleList
from torch import Tensor, nn

from harmoclip_mm.registry import MODELS

from ..checkpoints import init_from_checkpoint
from ..layers import CausalBlock, run_block


class TextFeatures(NamedTuple):
    """What the text tower says of a batch of texts.

    Attributes:
        pooled (Tensor): Embedding at each text's EOT, shape (N, D), not
            normalised.
        tokens (Tensor): Every token through the final norm and the text
            projection, the *text token space*, shape (N, L', D). L' is the
            longest text of the batch: what follows its EOT is left out.
    """

    pooled: Tensor
    tokens: Tensor


@MODELS.register_module()
class CLIPTextTransformer(BaseModule):
    """CLIP's causal text transformer (arXiv 2103.00020, section 2.4).

    Attention is causal, so nothing that follows a text's EOT changes what
    the text says: a batch is cut at its longest text, which at 12 tokens out
    of 77 saves most of the work and changes no result.

    Args:
        embed_dims (int): Width C. Defaults to 512.
        num_layers (int): Number of blocks. Defaults to 12.
        num_heads (int): Number of attention heads. Defaults to 8.
        feedforward_channels (int, optional): Width of the MLPs. Defaults to
            4 times ``embed_dims``.
        out_dims (int): Width D of the joint space. Defaults to 512.
        vocab_size (int): Number of token ids, of which the last is EOT.
            Defaults to 49408.
        context_length (int): Longest text in tokens. Defaults to 77.
        act_cfg (dict, optional): Activation of the MLPs. Defaults to
            ``harmoclip_mm.QuickGELU``, which OpenAI's weights need.
        frozen (bool): Whether the tower is left untrained. Defaults to
            False.
        with_cp (bool): Recompute the blocks' activations in the backward.
            Defaults to False.
        init_cfg (dict, optional): Initialisation config. Type ``Pretrained``
            reads CLIP checkpoints of every format, see
            :func:`init_from_checkpoint`.
    """

    def __init__(
        self,
        embed_dims: int = 512,
        num_layers: int = 12,
        num_heads: int = 8,
        feedforward_channels: Optional[int] = None,
        out_dims: int = 512,
        vocab_size: int = 49408,
        context_length: int = 77,
        act_cfg: Optional[Dict] = None,
        frozen: bool = False,
        with_cp: bool = False,
        init_cfg: Optional[Dict] = None,
    ) -> None:
        super().__init__(init_cfg)
        self.embed_dims = embed_dims
        self.out_dims = out_dims
        self.context_length = context_length
        self.eot_id = vocab_size - 1
        self.with_cp = with_cp
        self.frozen = frozen
        self.token_embedding = nn.Embedding(vocab_size, embed_dims)
        self.pos_embed = nn.Parameter(torch.zeros(context_length, embed_dims))
        self.layers = ModuleList(
            CausalBlock(
                embed_dims,
                num_heads,
                feedforward_channels or 4 * embed_dims,
                act_cfg or dict(type='harmoclip_mm.QuickGELU'),
            )
            for _ in range(num_layers)
        )
        self.ln_final = nn.LayerNorm(embed_dims)
        self.proj = nn.Linear(embed_dims, out_dims, bias=False)
        if frozen:
            self.requires_grad_(False)

    def init_weights(self) -> None:
        """Draws the weights as CLIP does, unless ``init_cfg`` loads them."""
        if init_from_checkpoint(self, 'text_encoder.'):
            return
        super().init_weights()
        # Standard deviations of openai/CLIP, ``clip/model.py``.
        dims = self.embed_dims
        deep = (2 * len(self.layers)) ** -0.5
        nn.init.normal_(self.token_embedding.weight, std=0.02)
        nn.init.normal_(self.pos_embed, std=0.01)
        nn.init.normal_(self.proj.weight, std=dims**-0.5)
        for layer in self.layers:
            nn.init.normal_(layer.qkv.weight, std=dims**-0.5)
            nn.init.zeros_(layer.qkv.bias)
            nn.init.normal_(layer.proj.weight, std=deep * dims**-0.5)
            nn.init.zeros_(layer.proj.bias)
            nn.init.normal_(layer.fc1.weight, std=(2 * dims) ** -0.5)
            nn.init.normal_(layer.fc2.weight, std=deep * dims**-0.5)

    def train(self, mode: bool = True) -> 'CLIPTextTransformer':
        """A frozen tower stays in evaluation mode."""
        return super().train(mode and not self.frozen)

    def get_layer_depth(
        self, param_name: str, prefix: str = ''
    ) -> Tuple[int, int]:
        """Depth of a parameter, for layer-wise decay of the learning rate.

        Args:
            param_name (str): Name of the parameter.
            prefix (str): Prefix of this tower's parameters.

        Returns:
            Tuple[int, int]: Its depth, 0 for the embeddings, 1 for the first
            block, and the number of depths; final norm, projection and
            whatever is not below the prefix are the last.
        """
        depths = len(self.layers) + 2
        name = param_name[len(prefix) :]
        if param_name.startswith(prefix):
            if name.startswith(('token_embedding', 'pos_embed')):
                return 0, depths
            if name.startswith('layers.'):
                return int(name.split('.')[1]) + 1, depths
        return depths - 1, depths

    def forward(self, ids: Tensor) -> TextFeatures:
        """Encodes texts.

        Args:
            ids (Tensor): Token ids, shape (N, L), L <= ``context_length``;
                each row holds EOT, the largest id, at least once.

        Returns:
            TextFeatures: Pooled (N, D) and token (N, L', D) features.
        """
        rows = len(ids)
        if rows == 0:
            # One dummy text keeps the parameters in the graph: a rank whose
            # images have no phrase must still join the gradient exchange.
            ids = ids.new_full((1, max(ids.shape[1], 1)), self.eot_id)
        eot = (ids == self.eot_id).int().argmax(dim=1)
        ids = ids[:, : int(eot.max()) + 1]
        x = self.token_embedding(ids) + self.pos_embed[: ids.shape[1]]
        for layer in self.layers:
            x = run_block(layer, x, with_cp=self.with_cp and self.training)
        tokens = self.proj(self.ln_final(x))
        pooled = tokens[torch.arange(len(eot), device=eot.device), eot]
        return TextFeatures(pooled[:rows], tokens[:rows])
