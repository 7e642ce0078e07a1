"""What the text tower says of a batch's phrases."""

from typing import Dict, Optional, Set

import torch.nn.functional as F
from torch import Tensor, nn

from ..towers import TextFeatures
from ..utils import RegionPhrases, lexeme_pool


def phrase_features(
    text_encoder: nn.Module,
    phrases: RegionPhrases,
    captions: Optional[TextFeatures],
    needs: Set[str],
) -> Dict[str, Tensor]:
    """Embeds the phrases of regions, each distinct text once.

    Args:
        text_encoder (nn.Module): A ``CLIPTextEncoder``.
        phrases (RegionPhrases): Phrases of R regions.
        captions (TextFeatures, optional): Features of the captions that
            their spans lie in; only lexemes need them.
        needs (Set[str]): ``'lexemes'``, ``'phrases'`` or both are answered.

    Returns:
        Dict[str, Tensor]: ``lexemes`` (R, D), the mean of the span's tokens
        in the text token space, and ``phrases`` (R, D), the embedding at EOT
        of the phrase read alone; L2-normalised, as far as asked for.
    """
    found = {}
    spans_only = bool(phrases.has_span.all())
    alone = None
    if 'phrases' in needs or not spans_only:
        alone = text_encoder(phrases.ids)
    if 'phrases' in needs:
        found['phrases'] = F.normalize(alone.pooled, dim=-1)[phrases.index]
    if 'lexemes' in needs:
        lexemes = lexeme_pool(
            captions.tokens,
            phrases.span_region,
            phrases.span_caption,
            phrases.span_token,
            len(phrases.index),
        )
        if not spans_only:
            # A phrase that is a text of its own: all of its tokens. Rows are
            # zero in one of the two summands.
            row, token = phrases.text_masks.nonzero(as_tuple=True)
            own = lexeme_pool(
                alone.tokens, row, row, token, len(phrases.text_masks)
            )
            without = (~phrases.has_span)[:, None]
            lexemes = lexemes + own[phrases.index] * without
        found['lexemes'] = lexemes
    return found
