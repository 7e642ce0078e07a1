"""What the text tower says of a batch's captions and phrases."""

from typing import Dict, Set

import torch
import torch.nn.functional as F
from mmdet.structures import DetDataSample, SampleList
from torch import Tensor, nn

from ..utils import lexeme_pool, read_field

# Fields of CLIPFeatures that are made of phrases.
PHRASE_FEATURES = {
    'lexemes',
    'lexeme_keys',
    'phrases',
    'phrase_keys',
    'negatives',
}
_REMEDY = (
    'a head needs them, so the train pipeline needs TokenizeRegionText '
    '(for negatives with its negatives above 0) before PackRegionTextInputs, '
    'and phrases for its regions'
)


def caption_ids_of(sample: DetDataSample) -> Tensor:
    """Token ids of the caption of a sample, (1, L); (0, L) without one."""
    return read_field(sample, 'caption_ids', _REMEDY)[:1]


def text_features(
    text_encoder: nn.Module, data_samples: SampleList, needs: Set[str]
) -> Dict[str, Tensor]:
    """Embeds captions, and the phrases of R regions, each distinct text once.

    All of it is arithmetic on tensors of ``TokenizeRegionText`` where they
    are: no text is looked at, and nothing is sent to the device. What has to
    be known before texts are encoded is read from it at once: each reading
    waits for it.

    Args:
        text_encoder (nn.Module): A ``CLIPTextEncoder``.
        data_samples (SampleList): Samples, see ``HarmoCLIP.loss``.
        needs (Set[str]): Fields of ``CLIPFeatures`` wanted; ``'text'`` and
            ``PHRASE_FEATURES`` are answered.

    Returns:
        Dict[str, Tensor]: ``text`` (C, D), the embeddings of the samples'
        captions, where there are any; ``phrase_keys`` and ``lexeme_keys``
        (R,), as far as ``TokenizeRegionText`` made them; ``lexemes``
        (R, D), the mean of the phrase's tokens in the text token space, in
        its caption or, for a text of its own, in itself; ``phrases`` (R, D),
        the embedding at EOT of the phrase read alone; ``negatives``
        (R, M, D), those of its negatives, and ``negative_masks`` (R, M),
        which of them there are. L2-normalised, as far as asked for.
    """

    def gather(name: str) -> Tensor:
        return torch.cat(
            [read_field(each, name, _REMEDY) for each in data_samples]
        )

    found, facts = {}, {}
    if needs & {'text', 'lexemes'}:
        captions = torch.cat([caption_ids_of(each) for each in data_samples])
        facts['caption_length'] = text_encoder.longest(captions)
    if needs & {'phrases', 'lexemes', 'negatives'}:
        phrases = gather('phrase_ids')
        if 'negatives' in needs:
            negatives = gather('negative_ids').flatten(0, 1)
            phrases = torch.cat([phrases, negatives])
        facts['phrase_length'] = text_encoder.longest(phrases)
    if 'lexemes' in needs:
        spans = gather('phrase_spans')
        facts['spans_only'] = spans.all().long()
    if facts:
        values = torch.stack(list(facts.values())).tolist()
        facts = dict(zip(facts, values))
    if 'caption_length' in facts:
        captions = text_encoder(
            captions,
            with_tokens='lexemes' in needs,
            length=facts['caption_length'],
        )
    if 'text' in needs:
        found['text'] = F.normalize(captions.pooled, dim=-1)
    if not needs & PHRASE_FEATURES:
        return found

    labels, of_captions = [], []
    num_phrases = num_captions = 0
    for each in data_samples:
        labels.append(each.gt_instances.labels + num_phrases)
        of_captions.append(torch.full_like(each.phrase_keys, num_captions))
        num_phrases += len(each.phrase_keys)
        num_captions += len(each.get('caption_ids', ())[:1])
    labels = torch.cat(labels)
    for name in needs & {'phrase_keys', 'lexeme_keys'}:
        found[name] = gather(name)[labels]
    spans_only = facts.get('spans_only', True)
    if needs & {'phrases', 'negatives'} or not spans_only:
        ids, place = phrases.unique(dim=0, return_inverse=True)
        alone = text_encoder(
            ids, with_tokens=not spans_only, length=facts['phrase_length']
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
        masks, spans = gather('phrase_masks'), spans[:, None]
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
