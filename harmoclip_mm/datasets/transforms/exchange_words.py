"""Texts that are almost a phrase: one of its words exchanged."""

import re
from typing import List, Sequence, Union

import numpy as np
from mmcv.transforms import BaseTransform

from harmoclip_mm.registry import TRANSFORMS
from harmoclip_mm.text import class_to_prompt, load_vocabulary


@TRANSFORMS.register_module()
class ExchangeWords(BaseTransform):
    """Give phrases hard negatives by exchanging a word for one of its kind.

    FG-CLIP (arXiv 2505.05071) lets a language model exchange attributes and
    names; here a vocabulary does. "small red car" becomes "small blue car"
    or "small red bus". Place it before ``TokenizeRegionText``, whose
    ``negatives`` says how many of them are used.

    Required and modified key: ``phrases``, of which those without
    ``negatives`` get some, in random order.

    Args:
        words (Sequence[Sequence[str]]): Kinds of words, such as colours and
            shapes; a word is exchanged for another of its kind. In lower
            case.
        forbidden (str | Sequence[str]): Words that must not come together,
            such as the classes held out for a test, or the file of a
            vocabulary: a negative in which one of them stands is left out.
            Defaults to none.

    Raises:
        ValueError: If a word is of two kinds.
    """

    def __init__(
        self,
        words: Sequence[Sequence[str]],
        forbidden: Union[str, Sequence[str]] = (),
    ) -> None:
        self.kinds = {word: list(kind) for kind in words for word in kind}
        if len(self.kinds) < sum(map(len, words)):
            raise ValueError('ExchangeWords: a word is of two kinds')
        names = load_vocabulary(forbidden).classes if forbidden else ()
        parts = '|'.join(re.escape(class_to_prompt(each)) for each in names)
        # whole words; without names what nothing matches
        self._forbidden = re.compile(rf'(?<!\w)({parts or "(?!)"})(?!\w)')

    def negatives(self, phrase: str) -> List[str]:
        """All texts that a phrase can become.

        Args:
            phrase (str): The phrase, any case.

        Returns:
            List[str]: Lower-case texts, by place and word.
        """
        words = phrase.lower().split()
        texts = [
            ' '.join([*words[:place], other, *words[place + 1 :]])
            for place, word in enumerate(words)
            for other in self.kinds.get(word, ())
            if other != word
        ]
        return [text for text in texts if not self._forbidden.search(text)]

    def transform(self, results: dict) -> dict:
        """Give the phrases of a sample negatives."""
        for phrase in results['phrases'].values():
            if 'negatives' not in phrase:
                texts = self.negatives(phrase['phrase'])
                order = np.random.permutation(len(texts))
                phrase['negatives'] = [texts[i] for i in order]
        return results
