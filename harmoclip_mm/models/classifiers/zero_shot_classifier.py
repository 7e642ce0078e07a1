"""Zero-shot classifier: one text embedding a class."""

from typing import List, Optional, Sequence, Tuple, Union

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from harmoclip_mm.registry import MODELS
from harmoclip_mm.text import (
    CLIPTokenizer,
    fill_templates,
    get_templates,
    load_vocabulary,
)

from ..utils import lexeme_pool

MODES = ('eot', 'lexeme', 'both')


@MODELS.register_module()
class ZeroShotClassifier(nn.Module):
    """Classifies embeddings by their cosine with prompts of class names.

    Each class name is put into each template; the embeddings are
    normalised, averaged over the templates and normalised again (CLIP,
    arXiv 2103.00020, section 3.1.4). The matrix is computed once for a
    vocabulary and kept until the model returns to training.

    Args:
        vocabulary (str | Sequence[str]): Name of a vocabulary, path of a
            vocabulary file, or class names.
        templates (str | Sequence[str]): Name of a template set or templates
            with ``{}`` for the class name. Defaults to ``'openai80'``.
        mode (str): ``'eot'`` takes a prompt's embedding at EOT, the
            classifier of CLIP; ``'lexeme'`` the mean over the tokens of the
            class name within the prompt, in the text token space; ``'both'``
            the normalised sum of the two. Defaults to ``'eot'``.
        chunk_size (int): Most prompts encoded at once. Defaults to 1024.

    Raises:
        ValueError: If ``mode`` is unknown or the vocabulary is empty.
    """

    def __init__(
        self,
        vocabulary: Union[str, Sequence[str]],
        templates: Union[str, Sequence[str]] = 'openai80',
        mode: str = 'eot',
        chunk_size: int = 1024,
    ) -> None:
        super().__init__()
        if mode not in MODES:
            raise ValueError(
                f'ZeroShotClassifier knows no mode {mode!r}; choose one of '
                f'{", ".join(map(repr, MODES))}.'
            )
        self.vocabulary = load_vocabulary(vocabulary)
        self.templates = get_templates(templates)
        self.mode = mode
        self.chunk_size = chunk_size
        self._weight: Optional[Tensor] = None

    def train(self, mode: bool = True) -> 'ZeroShotClassifier':
        """Forgets the embeddings: after training they are others."""
        self._weight = None
        return super().train(mode)

    def class_embeddings(self, text_encoder: nn.Module) -> Tensor:
        """Embeddings of the classes, computed at the first call.

        Args:
            text_encoder (nn.Module): A ``CLIPTextTransformer``.

        Returns:
            Tensor: L2-normalised embeddings, shape (classes, D), float32.
        """
        if self._weight is None or torch.is_grad_enabled():
            weight = self._build(text_encoder)
            if torch.is_grad_enabled():
                return weight
            self._weight = weight
        return self._weight

    def forward(
        self, embeddings: Tensor, text_encoder: nn.Module, scale: Tensor
    ) -> Tensor:
        """Scores embeddings against all classes.

        Args:
            embeddings (Tensor): L2-normalised embeddings, shape (N, D).
            text_encoder (nn.Module): A ``CLIPTextTransformer``.
            scale (Tensor): Factor of the cosines, scalar.

        Returns:
            Tensor: Logits, shape (N, classes), float32.
        """
        weight = self.class_embeddings(text_encoder)
        # A product in bfloat16 would tie classes that are apart.
        with torch.autocast(embeddings.device.type, enabled=False):
            return scale.float() * embeddings.float() @ weight.t()

    def _build(self, text_encoder: nn.Module) -> Tensor:
        ids, masks = self._prompts()
        device = next(text_encoder.parameters()).device
        parts: List[Tensor] = []
        for start in range(0, len(ids), self.chunk_size):
            chunk = slice(start, start + self.chunk_size)
            parts.append(
                self._embed(
                    text_encoder,
                    ids[chunk].to(device),
                    masks[chunk].to(device),
                )
            )
        # (classes * templates, D) -> mean over the templates
        prompts = torch.cat(parts).unflatten(0, (-1, len(self.templates)))
        return F.normalize(prompts.mean(dim=1), dim=-1)

    def _embed(
        self, text_encoder: nn.Module, ids: Tensor, masks: Tensor
    ) -> Tensor:
        features = text_encoder(ids)
        eot = F.normalize(features.pooled.float(), dim=-1)
        if self.mode == 'eot':
            return eot
        row, token = masks.nonzero(as_tuple=True)
        lexeme = lexeme_pool(features.tokens, row, row, token, len(ids))
        if self.mode == 'lexeme':
            return lexeme
        return F.normalize(eot + lexeme, dim=-1)

    def _prompts(self) -> Tuple[Tensor, Tensor]:
        """Token ids and masks of the class name's tokens, (C * T, L)."""
        tokenizer = CLIPTokenizer()
        ids, masks = [], []
        for words in self.vocabulary.prompts:
            for template in self.templates:
                prompt, start = _fill(template, words)
                encoding = tokenizer.encode_with_offsets(prompt)
                span = [start, start + len(words.rstrip('.'))]
                ids.append(encoding.ids)
                masks.append(tokenizer.span_mask(encoding, [span]))
        return torch.stack(ids), torch.stack(masks)


def _fill(template: str, words: str) -> Tuple[str, int]:
    """A prompt, and where the class's words start in it."""
    (prompt,) = fill_templates([template], words)
    (before,) = fill_templates([template[: template.index('{}') + 2]], words)
    return prompt, len(before) - len(words.rstrip('.'))
