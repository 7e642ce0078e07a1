"""A data set in figures, and what a person would say of them."""

from collections import Counter
from dataclasses import dataclass
from typing import Any, Callable, List, Mapping, Optional, Sequence, Tuple

import numpy as np

from harmoclip_mm.text import captions_of, normalise_phrase, phrases_of

from .base import leaf_datasets
from .region_phrase import RegionPhraseDataset

_LONGEST = 12  # phrases that are listed


@dataclass
class ModelInput:
    """What becomes of a sample before the model sees it.

    Attributes:
        size (Tuple[int, int]): Height and width of the input in px.
        keeps_ratio (bool): Whether images fit into the size, rather than
            being squashed to it.
        cell (int, optional): Side of a cell of the dense map in px of the
            input.
        is_cut (Callable, optional): Tells whether a caption is longer than
            the context.
        context_length (int, optional): In tokens.
    """

    size: Tuple[int, int]
    keeps_ratio: bool = False
    cell: Optional[int] = None
    is_cut: Optional[Callable[[str], bool]] = None
    context_length: Optional[int] = None

    @classmethod
    def of_pipeline(cls, transforms: Sequence[Any]) -> Optional['ModelInput']:
        """Read it from the steps of a data set.

        Returns:
            ModelInput: None if none of them resizes to a CLIP's size.
        """
        found = {type(each).__name__: each for each in transforms}
        resize = found.get('CLIPResize')
        if resize is None:
            return None
        made = cls(
            resize.size, resize.mode != 'squash', resize.spec.patch_size
        )
        tokenize = found.get('TokenizeRegionText')
        if tokenize is not None:
            tokenizer = tokenize.tokenizer
            made.is_cut = lambda text: tokenizer.encode(text).truncated
            made.context_length = tokenizer.context_length
        return made

    def scale(self, width: int, height: int) -> np.ndarray:
        """Factors from px of an image to px of the input, for x and y."""
        factors = np.divide(self.size[::-1], (width, height))
        return np.full(2, factors.min()) if self.keeps_ratio else factors


def _cuts(text: str, at: int) -> bool:
    """Whether a place is within a word; of scripts without spaces none is."""
    pair = text[at - 1 : at + 1] if at else ''
    return len(pair) == 2 and pair.isascii() and pair.isalnum()


class DatasetFigures:
    """Figures of a data set, gathered sample by sample.

    Args:
        model_input (ModelInput, optional): Judges boxes and captions.
        classes (Sequence[str]): Names of labels where samples have no
            phrases. Defaults to none.

    Attributes:
        samples (int): Samples that were added.
        captions (int): Captions of them.
        cut_captions (int): Captions that are longer than the context.
        boxes_each (List[int]): Boxes of each sample.
        caption_words (Counter): Captions by their number of words.
        phrase_words (Counter): Regions by the number of words of theirs.
        phrases (Counter): Regions by the normal form of their phrase.
        linked (int): Regions whose phrase is a span of the caption.
        cut_words (int): Those of them whose spans begin or end in a word.
        sides (List[float]): Of each box the geometric mean of its sides, in
            px of the input, or of the image without ``model_input``.
        below_cell (int): Boxes of less than a cell of the dense map.
        whole (int): Boxes of 90 % of their image or more.
        reaching (int): Boxes that reach out of their image.
        longest (List[Tuple[int, str]]): Words and text of the longest
            phrases.
    """

    def __init__(
        self,
        model_input: Optional[ModelInput] = None,
        classes: Sequence[str] = (),
    ) -> None:
        self.model_input, self._classes = model_input, classes
        self.samples = self.captions = self.cut_captions = 0
        self.linked = self.below_cell = self.whole = self.reaching = 0
        self.crowds = self.cut_words = 0
        self.boxes_each: List[int] = []
        self.sides: List[float] = []
        self.caption_words: Counter = Counter()
        self.phrase_words: Counter = Counter()
        self.phrases: Counter = Counter()
        self.longest: List[Tuple[int, str]] = []

    def add(self, sample: Mapping[str, Any]) -> None:
        """Count a sample."""
        self.samples += 1
        for caption in captions_of(sample):
            self.captions += 1
            self.caption_words[len(caption.split())] += 1
            if self.model_input and self.model_input.is_cut:
                self.cut_captions += self.model_input.is_cut(caption)
        spans = [
            p['tokens_positive'] for p in sample.get('phrases', {}).values()
        ]
        names = phrases_of(sample) or self._classes
        instances = sample.get('instances', [])
        self.boxes_each.append(len(instances))
        for instance in instances:
            label = instance['bbox_label']
            if names:
                self._add_phrase(names[label])
            self.crowds += instance.get('ignore_flag', 0)
            own = spans[label] if spans else ()
            self.linked += bool(own)
            self.cut_words += any(
                _cuts(sample['text'], at) for span in own for at in span
            )
        if instances:
            self._add_boxes(sample, [each['bbox'] for each in instances])

    def _add_phrase(self, phrase: str) -> None:
        words = len(phrase.split())
        self.phrase_words[words] += 1
        normal = normalise_phrase(phrase)
        if normal not in self.phrases:
            self.longest.append((words, phrase))
            self.longest.sort(key=lambda pair: -pair[0])
            del self.longest[_LONGEST:]
        self.phrases[normal] += 1

    def _add_boxes(self, sample: Mapping[str, Any], bboxes: list) -> None:
        boxes = np.array(bboxes, dtype=float).reshape(-1, 2, 2)
        size = sample.get('width'), sample.get('height')
        lengths = (boxes[:, 1] - boxes[:, 0]).clip(min=0)
        if all(size):
            outside = (boxes < -1) | (boxes > np.add(size, 1))
            self.reaching += int(outside.any(axis=(1, 2)).sum())
            whole = lengths.prod(axis=1) >= 0.9 * np.prod(size)
            self.whole += int(whole.sum())
            if self.model_input:
                lengths = lengths * self.model_input.scale(*size)
        self.sides += np.sqrt(lengths.prod(axis=1)).tolist()
        if self.model_input and self.model_input.cell:
            areas = lengths.prod(axis=1)
            small = areas < self.model_input.cell**2
            self.below_cell += int(small.sum())

    @property
    def boxes(self) -> int:
        """All boxes."""
        return len(self.sides)

    def say_boxes(self, dataset: Any) -> str:
        """What the number of boxes counts, since one data set has several.

        Args:
            dataset (Any): The data set, which may be a wrapper.

        Returns:
            str: The number, and what one box is.
        """
        text = f'{self.boxes} boxes'
        if self.crowds:
            text += f', {self.crowds} of them crowds'
        found = [
            each
            for each in leaf_datasets(dataset)
            if isinstance(each, RegionPhraseDataset)
        ]
        if found:
            text += ', one for each phrase of a box'
        if any(each.draws_lines for each in found):
            text += ', in one line of each image, drawn at random'
        return text

    def warnings(self) -> List[str]:
        """What a person would say of these figures, one sentence each."""
        told, seen = [], self.model_input
        if not self.boxes:
            told.append('No sample has a box: only the global loss trains.')
        if not self.captions and not self._classes:
            told.append('No sample has a caption: the global loss is silent.')
        phrase, often = (self.phrases.most_common(1) or [('', 0)])[0]
        is_linked = self.captions and not self._classes
        unlinked = self.boxes - self.linked if is_linked else 0
        cell, length = (seen.cell, seen.context_length) if seen else (0, 0)
        height, width = seen.size if seen else (0, 0)
        for number, total, above, text in (
            # how many, of how many, the share that is told
            (
                *(self.below_cell, self.boxes, 0.2),
                'of the boxes are below one cell of the dense map '
                f'({cell} x {cell} px) at the input size of {width} x '
                f'{height} px: take a larger size, or drop them by min_size '
                'of SampleRegions.',
            ),
            (
                *(often, self.boxes, 0.4),
                f'of the regions have the phrase "{phrase}": most pairs of a '
                'batch tell the model nothing.',
            ),
            (
                *(self.cut_captions, self.captions, 0.01),
                f'of the captions ({self.cut_captions:,}) are cut: they are '
                f'longer than the {length} tokens of the text encoder.',
            ),
            (
                *(unlinked, self.boxes, 0.9),
                'of the regions are not linked to the caption: their phrases '
                'are texts of their own.',
            ),
            (
                *(self.cut_words, self.linked, 0.01),
                f'of the linked regions ({self.cut_words:,}) have spans that '
                'begin or end within a word: they are [start, end) in '
                'characters, not in bytes.',
            ),
            (
                *(self.boxes_each.count(0), self.samples, 0.2),
                'of the samples have no box.',
            ),
            (
                *(self.whole, self.boxes, 0.3),
                'of the boxes cover their whole image: they say no more than '
                'a caption.',
            ),
            (
                *(self.reaching, self.boxes, 0.05),
                'of the boxes reach out of their images: is it xywh where '
                'xyxy is expected, or xyxy in a file of COCO, which has xywh?',
            ),
        ):
            if total and number / total > above:
                told.append(f'{100 * number / total:.0f} % {text}')
        return told
