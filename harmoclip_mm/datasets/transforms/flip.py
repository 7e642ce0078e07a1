"""Flipping that knows what a caption says about left and right."""

import re

from mmdet.datasets.transforms import RandomFlip

from harmoclip_mm.registry import TRANSFORMS
from harmoclip_mm.text import captions_of, phrases_of

# Neither letters nor digits around it: class names join words by `_`.
_SIDES = re.compile(
    r'(?<![^\W_])(left|right)(most|wards?|ies|y|[\s_-]?(hand|side)(ed|d)?)?'
    r'(?![^\W_])',
    re.IGNORECASE,
)


def mentions_sides(text: str) -> bool:
    """Whether a text speaks of left or right, so that a mirror image would
    make it wrong.

    Returns:
        bool: True for whole words only: "bright" is no side. "Right" in
        another sense counts too; it only costs a flip.
    """
    return _SIDES.search(text) is not None


@TRANSFORMS.register_module()
class TextAwareRandomFlip(RandomFlip):
    """mmdet's ``RandomFlip`` that leaves samples about left or right alone.

    Required keys: ``img``; ``text``, ``captions`` and ``phrases`` where
    present. Modified keys: ``img``, ``gt_bboxes``, ``gt_masks``. Added keys:
    ``flip``, ``flip_direction``, ``homography_matrix``.

    Args:
        prob (float): Probability of a flip. Defaults to 0.5.
        direction (str): As in mmdet. Defaults to 'horizontal'.
    """

    def __init__(self, prob: float = 0.5, **kwargs) -> None:
        super().__init__(prob=prob, **kwargs)

    def transform(self, results: dict) -> dict:
        """Flip the sample, or do not."""
        texts = captions_of(results) + phrases_of(results)
        if mentions_sides('\n'.join(texts)):
            results['flip'] = False
            results['flip_direction'] = None
            return results
        return super().transform(results)
