"""Captions, phrases and candidates to token ids, keys and masks."""

from typing import Any, Mapping, Union

import numpy as np
import torch
from mmcv.transforms import BaseTransform

from harmoclip_mm.registry import CLIPS, TRANSFORMS
from harmoclip_mm.text import (
    captions_of,
    content_key,
    phrase_key,
    phrases_of,
)

from ..counters import SharedCounters
from .regions import keep_regions


@TRANSFORMS.register_module()
class TokenizeRegionText(BaseTransform):
    """Tokenize the caption and the phrases of the regions that are left.

    This is the last step that sees text: what the model needs to know of it
    are tensors from here on. Phrases without a region are left out, and the
    region labels follow. A phrase whose span lies beyond the context length
    in its caption, or of which the tokenizer leaves nothing, is dropped with
    its regions and counted; captions that are cut at the context length are
    counted too.

    Required keys: ``text`` (str, the caption), ``phrases`` and
    ``gt_bboxes_labels`` as of :class:`RegionPhraseDataset`; or only
    ``captions`` (list[str]), for retrieval.
    Modified keys: ``phrases``, and those of ``REGION_FIELDS``.
    Added keys, for C captions, P phrases and the context length L:

    - ``caption_ids`` int64 (C, L): one row a caption; C is 0 for an image
      without a caption.
    - ``phrase_ids`` int64 (P, L): each phrase read alone.
    - ``phrase_keys`` int64 (P,): equal where the normal forms of phrases are,
      see :func:`phrase_key`.
    - ``lexeme_keys`` int64 (P,): equal where phrases are the same words at the
      same place of the same caption, as far as the text tower has read it
      when it comes to their end: those lexemes are one. The ``phrase_keys``
      of texts of their own.
    - ``phrase_spans`` bool (P,): whether the phrase is a span of the caption,
      and not a text of its own.
    - ``phrase_masks`` bool (P, L): its tokens, in the caption or, for a text
      of its own, in ``phrase_ids``; neither special ones nor padding.
    - ``negative_ids`` int64 (P, M, L) and ``negative_masks`` bool (P, M),
      with M ``negatives``: texts that are almost the phrase, the first M of
      its ``negatives`` (list[str]), and which of them there are.

    Args:
        clip (str | Mapping): The CLIP whose tokens are wanted: a name of
            open_clip's, a config or a folder.
        negatives (int): Negatives M of a phrase; with 0 none are tokenized.
            Defaults to 0.

    Raises:
        UsageError: If there is no such CLIP.
    """

    def __init__(
        self, clip: Union[str, Mapping[str, Any]], negatives: int = 0
    ) -> None:
        self.spec = CLIPS.get('CLIPSpec')(clip)
        self.tokenizer = self.spec.tokenizer
        self.negatives = negatives
        length = self.spec.context_length
        self.counters = SharedCounters(
            cut_phrases=f'phrases beyond {length} tokens, or of none, dropped',
            cut_captions=f'captions cut at {length} tokens',
        )

    def transform(self, results: dict) -> dict:
        """Tokenize the texts of a sample."""
        if 'phrases' in results:
            self._tokenize_phrases(results)
        captions = captions_of(results)
        results['caption_ids'] = self.tokenizer.ids(captions)
        for caption in captions:
            # a token has at least a byte: most are told without a second look
            if len(caption.encode()) > self.spec.context_length - 2:
                cut = self.tokenizer.encode(caption).truncated
                self.counters.add('cut_captions', int(cut))
        return results

    def _tokenize_phrases(self, results: dict) -> None:
        caption = self.tokenizer.encode(results.get('text', ''))
        # Without boxes (a pipeline for captions alone) no phrase is in use.
        labels = results.setdefault(
            'gt_bboxes_labels', np.zeros(0, dtype=np.int64)
        )
        used, texts, are_spans, masks = [], [], [], []
        phrase_keys, lexeme_keys = [], []
        for label in np.unique(labels).tolist():
            phrase = results['phrases'][label]['phrase']
            spans = results['phrases'][label]['tokens_positive']
            if spans:
                mask = self.tokenizer.span_mask(caption, spans)
            else:
                alone = self.tokenizer.encode(phrase)
                mask = self.tokenizer.text_mask(alone)
            if not mask.any():
                self.counters.add('cut_phrases')
                continue
            key = phrase_key(phrase)
            phrase_keys.append(key)
            lexeme_keys.append(
                self._lexeme_key(caption.ids, mask) if spans else key
            )
            used.append(label)
            texts.append(phrase)
            are_spans.append(bool(spans))
            masks.append(mask)
        kept = np.isin(labels, used)
        if not kept.all():
            keep_regions(results, np.flatnonzero(kept))
        none = caption.ids[None][:0]
        results.update(
            gt_bboxes_labels=np.searchsorted(used, labels[kept]),
            phrases={i: results['phrases'][old] for i, old in enumerate(used)},
            phrase_ids=self.tokenizer.ids(texts),
            phrase_keys=torch.tensor(phrase_keys, dtype=torch.int64),
            lexeme_keys=torch.tensor(lexeme_keys, dtype=torch.int64),
            phrase_spans=torch.tensor(are_spans, dtype=torch.bool),
            phrase_masks=torch.stack(masks) if masks else none.bool(),
        )
        if self.negatives:
            self._tokenize_negatives(results)

    def _lexeme_key(self, ids: torch.Tensor, mask: torch.Tensor) -> int:
        """Of what has been read of a caption at the end of a phrase."""
        end = int(mask.nonzero()[-1]) + 1 if self.spec.is_causal else len(mask)
        return content_key(
            ids[:end].numpy().tobytes() + mask[:end].numpy().tobytes()
        )

    def _tokenize_negatives(self, results: dict) -> None:
        texts = [
            phrase.get('negatives', [])[: self.negatives]
            for phrase in results['phrases'].values()
        ]
        counts = torch.tensor([len(each) for each in texts], dtype=torch.int64)
        masks = torch.arange(self.negatives) < counts[:, None]
        # what is missing is a text as well, so that all can be encoded
        ids = results['phrase_ids'][:, None].repeat(1, self.negatives, 1)
        ids[masks] = self.tokenizer.ids([t for each in texts for t in each])
        results.update(negative_ids=ids, negative_masks=masks)


@TRANSFORMS.register_module()
class TokenizeCandidates(BaseTransform):
    """Tokenize the texts that the boxes of a sample are compared with.

    Unlike ``TokenizeRegionText`` it keeps phrases that no box has as its
    label: those are the wrong answers.

    Required keys: ``phrases`` (see :class:`RegionPhraseDataset`), or ``text``
    (str) as mmdet's data sets of referring expressions have it, which becomes
    the only phrase and the label of every box.
    Optional keys of ``instances``: ``candidates`` (list[int], the phrases
    that a box is compared with; all of them without it) and ``subset`` (int,
    where the box is counted).
    Added keys, L being the context length:

    - ``candidate_ids`` int64 (T, L): one row a phrase.
    - ``gt_candidate_mask`` bool (N, T) and ``gt_subset_ids`` int64 (N,),
      where the instances say so.

    Args:
        clip (str | Mapping): The CLIP whose tokens are wanted: a name of
            open_clip's, a config or a folder.
        lower (bool): Lower-case the texts, as FG-CLIP 2's evaluation does.
            Defaults to False.

    Raises:
        UsageError: If there is no such CLIP.
    """

    def __init__(
        self, clip: Union[str, Mapping[str, Any]], lower: bool = False
    ) -> None:
        self.spec = CLIPS.get('CLIPSpec')(clip)
        self.tokenizer = self.spec.tokenizer
        self.lower = lower

    def transform(self, results: dict) -> dict:
        """Tokenize the candidates of a sample."""
        if 'phrases' not in results:
            phrase = {'phrase': results['text'], 'tokens_positive': []}
            results['phrases'] = {0: phrase}
            if 'gt_bboxes_labels' in results:
                labels = np.zeros_like(results['gt_bboxes_labels'])
                results['gt_bboxes_labels'] = labels
        phrases = phrases_of(results)
        if self.lower:
            phrases = [phrase.lower() for phrase in phrases]
        results['candidate_ids'] = self.tokenizer.ids(phrases)
        instances = results.get('instances') or []
        if any('candidates' in each for each in instances):
            mask = torch.zeros(len(instances), len(phrases), dtype=torch.bool)
            for row, each in zip(mask, instances):
                row[each['candidates']] = True
            results['gt_candidate_mask'] = mask
        if any('subset' in each for each in instances):
            subsets = [each['subset'] for each in instances]
            results['gt_subset_ids'] = torch.tensor(subsets)
        return results
