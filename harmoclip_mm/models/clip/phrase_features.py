"""What the text tower says of a batch's phrases."""

from typing import Dict, NamedTuple, Optional, Set

import torch
import torch.nn.functional as F
from mmdet.structures import SampleList
from torch import Tensor, nn

from ..towers import TextFeatures
from ..utils import lexeme_pool


class TextFacts(NamedTuple):
    """The texts of a batch, and what has to be known before they are encoded.

    Attributes:
        captions (Tensor, optional): Ids of the captions, shape (C, L).
        caption_length (int): Positions of the longest caption.
        phrases (Tensor, optional): Ids of the phrases and, where asked for,
            of the M negatives of each, shape (P + P M, L).
        phrase_length (int): Positions of the longest phrase read alone.
        spans (Tensor, optional): Whether each phrase is a span of its
            caption, shape (P,).
        spans_only (bool): Whether no phrase is a text of its own.
    """

    captions: Optional[Tensor] = None
    caption_length: int = 0
    phrases: Optional[Tensor] = None
    phrase_length: int = 0
    spans: Optional[Tensor] = None
    spans_only: bool = True


def text_facts(
    text_encoder: nn.Module, data_samples: SampleList, needs: Set[str]
) -> TextFacts:
    """Gathers texts, and reads all facts from the device at once: each
    reading waits for it.

    Args:
        text_encoder (nn.Module): A ``CLIPTextEncoder``.
        data_samples (SampleList): Samples, see ``HarmoCLIP.loss``.
        needs (Set[str]): Fields of ``CLIPFeatures`` wanted; what none of
            them asks for stays as it is by default.
    """
    found, facts = {}, {}
    if needs & {'text', 'lexemes'}:
        captions = torch.cat([each.caption_ids[:1] for each in data_samples])
        found['captions'] = captions
        facts['caption_length'] = text_encoder.longest(captions)
    if needs & {'phrases', 'lexemes', 'negatives'}:
        phrases = torch.cat([each.phrase_ids for each in data_samples])
        if 'negatives' in needs:
            phrases = torch.cat([phrases, _negative_ids(data_samples)])
        found['phrases'] = phrases
        facts['phrase_length'] = text_encoder.longest(phrases)
    if 'lexemes' in needs:
        spans = torch.cat([each.phrase_spans for each in data_samples])
        found['spans'] = spans
        facts['spans_only'] = spans.all().long()
    if facts:
        values = torch.stack(list(facts.values())).tolist()
        found.update(zip(facts, values))
    return TextFacts(**found)


def _negative_ids(data_samples: SampleList) -> Tensor:
    """Negatives of the P phrases of a batch, shape (P M, L)."""
    return torch.cat([each.negative_ids for each in data_samples]).flatten(
        0, 1
    )


def phrase_features(
    text_encoder: nn.Module,
    data_samples: SampleList,
    captions: Optional[TextFeatures],
    needs: Set[str],
    facts: TextFacts,
) -> Dict[str, Tensor]:
    """Embeds the phrases of R regions, each distinct text once.

    All of it is arithmetic on tensors of ``TokenizeRegionText`` where they
    are: no text is looked at, and nothing is sent to the device.

    Args:
        text_encoder (nn.Module): A ``CLIPTextEncoder``.
        data_samples (SampleList): Samples, see ``HarmoCLIP.loss``.
        captions (TextFeatures, optional): Features of their captions, one
            row for each sample that has one; only lexemes need them.
        needs (Set[str]): ``'lexemes'``, ``'phrases'`` and ``'negatives'``
            are answered.
        facts (TextFacts): What :func:`text_facts` says.

    Returns:
        Dict[str, Tensor]: ``phrase_keys`` (R,); ``lexemes`` (R, D), the mean
        of the phrase's tokens in the text token space, in its caption or, for
        a text of its own, in itself; ``phrases`` (R, D), the embedding at EOT
        of the phrase read alone; ``negatives`` (R, M, D), those of its
        negatives, and ``negative_masks`` (R, M), which of them there are.
        L2-normalised, as far as asked for.
    """
    labels, of_captions = [], []
    num_phrases = num_captions = 0
    for each in data_samples:
        labels.append(each.gt_instances.labels + num_phrases)
        of_captions.append(torch.full_like(each.phrase_keys, num_captions))
        num_phrases += len(each.phrase_keys)
        num_captions += len(each.caption_ids[:1])
    labels = torch.cat(labels)

    def gather(name: str) -> Tensor:
        return torch.cat([each.get(name) for each in data_samples])

    found = dict(phrase_keys=gather('phrase_keys')[labels])
    spans_only = facts.spans_only
    if needs & {'phrases', 'negatives'} or not spans_only:
        ids, place = facts.phrases.unique(dim=0, return_inverse=True)
        alone = text_encoder(
            ids, with_tokens=not spans_only, length=facts.phrase_length
        )
    if needs & {'phrases', 'negatives'}:
        embeddings = F.normalize(alone.pooled, dim=-1)
    if 'phrases' in needs:
        found['phrases'] = embeddings[place[labels]]
    if 'negatives' in needs:
        masks = gather('negative_masks')
        negatives = embeddings[place[num_phrases:]]
        found['negatives'] = negatives.unflatten(0, masks.shape)[labels]
        found['negative_masks'] = masks[labels]
    if 'lexemes' in needs:
        masks, spans = gather('phrase_masks'), facts.spans[:, None]
        row, token = (masks & spans).nonzero(as_tuple=True)
        text = torch.cat(of_captions)[row]
        lexemes = lexeme_pool(captions.tokens, row, text, token, len(masks))
        if not spans_only:  # rows are zero in one of the two summands
            row, token = (masks & ~spans).nonzero(as_tuple=True)
            lexemes = lexemes + lexeme_pool(
                alone.tokens, row, place[row], token, len(masks)
            )
        found['lexemes'] = lexemes[labels]
    return found
