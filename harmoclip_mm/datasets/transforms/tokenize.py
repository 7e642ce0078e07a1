"""Captions and phrases to token ids, phrases to token spans."""

from typing import Any, Mapping, Union

import numpy as np
import torch
from mmcv.transforms import BaseTransform

from harmoclip_mm.registry import TRANSFORMS

from ..clip import describe_clip
from ..counters import SharedCounters
from .regions import keep_regions

__all__ = ['TokenizeRegionText']


@TRANSFORMS.register_module()
class TokenizeRegionText(BaseTransform):
    """Tokenize the caption and the phrases of the regions that are left.

    Phrases without a region are left out, and the region labels follow. A
    phrase whose span lies beyond the context length in its caption is dropped
    with its regions and counted.

    Required keys: ``caption``, ``phrases``, ``tokens_positive`` and
    ``gt_bboxes_labels`` (indices into phrases); or only ``captions``
    (list[str]), for retrieval.
    Modified keys: ``phrases``, ``tokens_positive``, ``gt_bboxes``,
    ``gt_bboxes_labels``, ``gt_ignore_flags``, ``gt_masks``; ``captions`` is
    set to ``[caption]`` where it is absent.
    Added keys, L being the context length:

    - ``caption_ids`` int64 (C, L): one row a caption; C is 0 for an image
      without a caption.
    - ``phrase_ids`` int64 (P, L): each phrase read alone.
    - ``phrase_text_masks`` bool (P, L): which of these tokens are the text's,
      neither special nor padding.
    - ``phrase_masks`` bool (P, L): the tokens of the phrase in the caption;
      a row without True belongs to a phrase that is a text of its own.

    Args:
        clip (str | Mapping): The CLIP whose tokens are wanted: a name of
            open_clip's, a config or a folder.

    Raises:
        UsageError: If there is no such CLIP.
    """

    def __init__(self, clip: Union[str, Mapping[str, Any]]) -> None:
        self.spec = describe_clip(clip, type(self).__name__)
        self.tokenizer = self.spec.tokenizer
        length = self.spec.context_length
        self.counters = SharedCounters(
            cut_phrases=f'phrases beyond {length} tokens dropped'
        )

    def transform(self, results: dict) -> dict:
        """Tokenize the texts of a sample.

        Args:
            results (dict): A sample.

        Returns:
            dict: The sample with token ids.
        """
        if 'captions' not in results:
            caption = results.get('caption', '')
            results['captions'] = [caption] if caption else []
        if 'phrases' in results:
            self._tokenize_phrases(results)
        if 'caption_ids' not in results:
            results['caption_ids'] = self.tokenizer.ids(results['captions'])
        return results

    def _tokenize_phrases(self, results: dict) -> None:
        caption = results.get('caption', '')
        encoding = self.tokenizer.encode(caption)
        if caption and results['captions'] == [caption]:
            results['caption_ids'] = encoding.ids[None]
        # Without boxes (a pipeline for captions alone) no phrase is in use.
        labels = results.setdefault(
            'gt_bboxes_labels', np.zeros(0, dtype=np.int64)
        )
        used, masks = [], []
        for index in np.unique(labels).tolist():
            spans = results['tokens_positive'][index]
            if spans is None:
                mask = encoding.ids.new_zeros(encoding.ids.shape, dtype=bool)
            else:
                mask = self.tokenizer.span_mask(encoding, spans)
                if not mask.any():
                    self.counters.add('cut_phrases')
                    continue
            used.append(index)
            masks.append(mask)
        self._relabel(results, used)
        alone = [self.tokenizer.encode(each) for each in results['phrases']]
        text_masks = [self.tokenizer.text_mask(each) for each in alone]
        length = self.spec.context_length
        for key, rows, dtype in (
            ('phrase_ids', [each.ids for each in alone], torch.int64),
            ('phrase_text_masks', text_masks, torch.bool),
            ('phrase_masks', masks, torch.bool),
        ):
            empty = torch.zeros((0, length), dtype=dtype)
            results[key] = torch.stack(rows) if rows else empty

    @staticmethod
    def _relabel(results: dict, used: list) -> None:
        """Keep the phrases ``used`` and the regions that they describe."""
        new = np.full(len(results['phrases']), -1, dtype=np.int64)
        new[used] = np.arange(len(used))
        labels = new[results['gt_bboxes_labels']]
        if (labels < 0).any():
            kept = np.flatnonzero(labels >= 0)
            keep_regions(results, kept)
            labels = labels[kept]
        results['gt_bboxes_labels'] = labels
        for key in ('phrases', 'tokens_positive'):
            results[key] = [results[key][index] for index in used]

    def __repr__(self) -> str:
        return f'{type(self).__name__}(clip={self.spec.name!r})'
