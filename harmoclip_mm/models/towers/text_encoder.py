"""The text tower of any CLIP, with every token in the joint space."""

import re
from pathlib import Path
from typing import Dict, List, NamedTuple, Optional, Sequence, Tuple

import torch
import torch.nn.functional as F
from mmengine.model import BaseModule
from open_clip.hf_model import HFTextEncoder
from open_clip.model import CLIPTextCfg, _build_text_tower
from open_clip.transformer import ResidualAttentionBlock
from torch import Tensor, nn

from harmoclip_mm.errors import UsageError
from harmoclip_mm.registry import MODELS

from ..checkpoints import init_from_checkpoint
from ..layers import run_block
from .clip_spec import CLIPName, CLIPSpec, clip_spec
from .families import OpenCLIPViT
from .tokenizer import CLIPTokenizer, get_tokenizer, how_to_get

# Blocks as open_clip and the encoders of Hugging Face number them.
_BLOCK = re.compile(r'\.(?:resblocks|layers?|block)\.(\d+)\.')


class TextFeatures(NamedTuple):
    """What the text tower says of a batch of texts.

    Attributes:
        pooled (Tensor): Embedding of each text, shape (N, D), not
            normalised.
        tokens (Tensor, optional): Every token through the final norm and the
            text projection, the *text token space*, shape (N, L', D). L' is
            the longest text of the batch where the tower allows to cut it
            there, else L.
    """

    pooled: Tensor
    tokens: Optional[Tensor]


@MODELS.register_module()
class CLIPTextEncoder(BaseModule):
    """A CLIP's text tower, open_clip's module unchanged in ``text``.

    Where attention is causal, or padding is masked, nothing that follows the
    end of a text changes what the text says: a batch is cut at its longest
    text, which at 12 tokens out of 77 saves most of the work and changes no
    result. Towers whose texts attend to padding (SigLIP, CLIPA) were trained
    so, and get all of it.

    Args:
        clip (str | Mapping): Which CLIP, see :func:`clip_spec`.
        frozen (bool): Whether the tower is left untrained. Defaults to
            False.
        with_cp (bool): Recompute the blocks' activations in the backward.
            Defaults to False.
        init_cfg (dict, optional): Initialisation config. Type ``Pretrained``
            reads CLIP checkpoints of every format, see
            :func:`init_from_checkpoint`.

    Raises:
        UsageError: If there is no such CLIP, if its text tower is of a kind
            that is not supported, or if it is one of Hugging Face whose
            config is not at hand.
    """

    def __init__(
        self,
        clip: CLIPName,
        frozen: bool = False,
        with_cp: bool = False,
        init_cfg: Optional[Dict] = None,
    ) -> None:
        super().__init__(init_cfg)
        self.spec = clip_spec(clip)
        self.text = text = _build(self.spec)
        self.out_dims = self.spec.embed_dim
        self.context_length = self.spec.context_length
        self.with_cp = with_cp
        self._dummy_id = 0
        if isinstance(text, HFTextEncoder):
            self._dummy_id = int(not text.config.pad_token_id)  # no padding
            if with_cp:
                text.transformer.gradient_checkpointing_enable(
                    dict(use_reentrant=False)
                )
        blocks = [_BLOCK.search(name) for name, _ in self.named_parameters()]
        self.num_layers = 1 + max(int(each[1]) for each in blocks if each)
        if frozen:
            self.requires_grad_(False)

    @property
    def tokenizer(self) -> CLIPTokenizer:
        """The tokenizer whose ids this tower reads."""
        return get_tokenizer(self.spec)

    def init_weights(self) -> None:
        """Draws the weights as CLIP does, unless ``init_cfg`` loads them."""
        if init_from_checkpoint(self, 'text_encoder.'):
            return
        super().init_weights()
        self.text.init_parameters()

    def train(self, mode: bool = True) -> 'CLIPTextEncoder':
        """A frozen tower stays in evaluation mode."""
        trained = any(weight.requires_grad for weight in self.parameters())
        return super().train(mode and trained)

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
        depths = self.num_layers + 2
        block = _BLOCK.search(param_name[len(prefix) :])
        if not param_name.startswith(prefix):
            return depths - 1, depths
        if block:
            return int(block[1]) + 1, depths
        embeds = 'embed' in param_name[len(prefix) :]
        return (0 if embeds else depths - 1), depths

    def longest(self, ids: Tensor) -> Tensor:
        """Where a batch may be cut.

        Args:
            ids (Tensor): Token ids of ``tokenizer``, shape (N, L).

        Returns:
            Tensor: Positions of the longest text, at least 1, a scalar of
            int64 on the device of the ids; L where texts attend to padding.
        """
        text, length = self.text, ids.shape[1]
        if isinstance(text, HFTextEncoder):
            needed = ids != text.config.pad_token_id
        elif text.attn_mask is not None:
            needed = _ends(ids, text.pool_type, text.eos_id)[1]
        else:
            return ids.new_full((), length)
        ends = torch.arange(1, length + 1, device=ids.device)
        return torch.cat([ends[:1], (needed * ends).flatten()]).max()

    def forward(
        self,
        ids: Tensor,
        with_tokens: bool = True,
        length: Optional[int] = None,
    ) -> TextFeatures:
        """Encodes texts.

        Args:
            ids (Tensor): Token ids of ``tokenizer``, shape (N, L).
            with_tokens (bool): Whether token features are wanted; without,
                only the pooled token is projected. Defaults to True.
            length (int, optional): What :meth:`longest` says, where it was
                read from the device before. Defaults to reading it.

        Returns:
            TextFeatures: Pooled (N, D) and token (N, L', D) features.
        """
        rows = ids.shape[0]
        if rows == 0:
            # One dummy text keeps the parameters in the graph: a rank whose
            # images have no phrase must still join the gradient exchange.
            ids = ids.new_full((1, 1), self._dummy_id)
        if not ids.is_meta:  # which has no values
            ids = ids[
                :, : int(self.longest(ids)) if length is None else length
            ]
        hugging_face = isinstance(self.text, HFTextEncoder)
        encode = self._hugging_face if hugging_face else self._native
        pooled, tokens = encode(ids, with_tokens)
        return TextFeatures(
            pooled[:rows], None if tokens is None else tokens[:rows]
        )

    def embed(
        self, ids: Sequence[Tensor], chunk_size: int = 1024
    ) -> List[Tensor]:
        """Embeds the texts of samples, each distinct text once.

        Equal texts have equal embeddings to the last bit, so a tie between
        them is one.

        Args:
            ids (Sequence[Tensor]): Token ids of each sample, shapes (T_i, L),
                int64; T_i may be 0.
            chunk_size (int): Most texts encoded at once. Defaults to 1024.

        Returns:
            List[Tensor]: L2-normalised embeddings, shapes (T_i, D), float32.
        """
        flat, index = torch.cat(list(ids)), slice(None)
        if len(flat):
            flat, index = flat.unique(dim=0, return_inverse=True)
        parts = [
            F.normalize(self(part, with_tokens=False).pooled.float(), dim=-1)
            for part in flat.split(chunk_size)
        ]
        rows = torch.cat(parts)[index]
        return list(rows.split([len(each) for each in ids]))

    def _native(
        self, ids: Tensor, with_tokens: bool
    ) -> Tuple[Tensor, Optional[Tensor]]:
        text = self.text
        causal = text.attn_mask is not None
        position, _ = _ends(ids, text.pool_type, text.eos_id)
        x = text.token_embedding(ids)
        x = x + text.positional_embedding[: ids.shape[1]]
        with_cp = self.with_cp and self.training
        for block in text.transformer.resblocks:
            x = run_block(_run, block, x, causal, with_cp=with_cp)
        row = torch.arange(ids.shape[0], device=ids.device)
        x = text.ln_final(x if with_tokens else x[row, position])
        if isinstance(text.text_projection, nn.Linear):
            x = text.text_projection(x)
        elif text.text_projection is not None:
            x = x @ text.text_projection
        return (x[row, position], x) if with_tokens else (x, None)

    def _hugging_face(
        self, ids: Tensor, with_tokens: bool
    ) -> Tuple[Tensor, Optional[Tensor]]:
        text = self.text
        mask = (ids != text.config.pad_token_id).long()
        out = text.transformer(input_ids=ids, attention_mask=mask)
        pooled = text.proj(text.pooler(out, mask))
        tokens = text.proj(out.last_hidden_state) if with_tokens else None
        return pooled, tokens


def _run(block: nn.Module, x: Tensor, causal: bool) -> Tensor:
    parts = OpenCLIPViT.project(block, x)
    mixed = F.scaled_dot_product_attention(*parts, is_causal=causal)
    return OpenCLIPViT.finish(block, x, mixed)


def _ends(ids: Tensor, pool_type: str, eos_id: int) -> Tuple[Tensor, Tensor]:
    """Where open_clip pools texts (N,), and where the token that ends them
    stands, bool (N, L): a text may contain it too, so the first is pooled and
    the last ends the text. All, where no token ends a text."""
    if pool_type == 'argmax':
        position = ids.argmax(dim=1)
        return position, ids == ids.gather(1, position[:, None])
    if pool_type == 'eos':
        ends = ids == eos_id
        return ends.int().argmax(dim=1), ends
    last = ids.shape[1] - 1 if pool_type == 'last' else 0
    return ids.new_full((ids.shape[0],), last), torch.ones_like(ids).bool()


def _build(spec: CLIPSpec) -> nn.Module:
    """Builds open_clip's text tower at random weights."""
    cfg = dict(spec.model_cfg['text_cfg'])
    name, refused = cfg.get('hf_model_name'), None
    if cfg.get('embed_cls') or 'multimodal_cfg' in spec.model_cfg:
        refused = 'writes captions (CoCa)'
    elif cfg.get('pool_type') == 'none':
        refused = "has no pool (pool_type='none')"
    elif name:
        cfg['hf_model_name'] = _config_folder(spec, name)
        cfg['hf_model_pretrained'] = False
    try:
        cfg = CLIPTextCfg(**cfg)
    except TypeError as error:
        raise UsageError(
            f'clip {spec.name!r}: its text_cfg is not of open_clip ({error})'
        ) from error
    if not refused:
        quick_gelu = spec.model_cfg.get('quick_gelu', False)
        text = _build_text_tower(spec.embed_dim, cfg, quick_gelu)
        block = None if name else text.transformer.resblocks[0]
        if name or isinstance(block, ResidualAttentionBlock):
            return text
        refused = f'is made of {type(block).__name__}'
    raise UsageError(
        f'the text tower of clip {spec.name!r} {refused}, which is not '
        'supported'
    )


def _config_folder(spec: CLIPSpec, name: str) -> str:
    """Folder of the config of a text tower of Hugging Face, for which
    open_clip would ask the network."""
    from transformers.utils import cached_file

    try:
        path = cached_file(name, 'config.json', local_files_only=True)
    except (OSError, ValueError) as error:
        raise UsageError(
            f'the text tower of clip {spec.name!r} is {name!r} of Hugging '
            f'Face, whose config is not at hand: {how_to_get(name)}'
        ) from error
    return str(Path(path).parent)
