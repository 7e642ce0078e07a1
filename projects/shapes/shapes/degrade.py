"""Region data made worse on purpose, to measure what that costs.

What happens to a sample depends on its image and the seed alone: a wrong link
stays wrong in every epoch, as in data that a converter wrote.
"""

import os.path as osp
import zlib

import numpy as np
from mmcv.transforms import BaseTransform

from harmoclip_mm.datasets.transforms.regions import keep_regions
from harmoclip_mm.registry import TRANSFORMS

from .scenes import COLOURS

__all__ = ['ElideColours', 'KeepRegionsOfSome', 'MislinkRegions']


def image_generator(results: dict, seed: int) -> np.random.Generator:
    """Random numbers of an image, the same at each access.

    Args:
        results (dict): A sample with ``img_path``, of which only the file
            name counts.
        seed (int): At least 0.

    Returns:
        np.random.Generator: The generator.
    """
    name = osp.basename(results['img_path'])
    return np.random.default_rng([seed, zlib.crc32(name.encode())])


@TRANSFORMS.register_module()
class MislinkRegions(BaseTransform):
    """Link regions to wrong boxes, as noisy converters do.

    A region is given, with a probability, the box of another region of its
    image, drawn evenly; in an image with one region, a box of its size at a
    random place.

    With ``scored`` each link also gets a score that is informative but no
    oracle: right links draw it from Beta(a + 1, b), wrong ones from
    Beta(a, b + 1), where a = 2 (1 - prob) and b = 2 prob. By Bayes' rule a
    share of s of the links with score s is right: scores are calibrated, and
    the two kinds overlap. Which links are wrong does not depend on ``scored``.

    Required keys: ``img_path``, ``img_shape``, ``gt_bboxes``. Modified keys:
    ``gt_bboxes``; masks would be left behind and are refused. Added key:
    ``gt_scores`` with ``scored``.

    Args:
        prob (float): Probability of a wrong link, in [0, 1].
        seed (int): Seed of the choice. Defaults to 0.
        scored (bool): Whether links get scores. Defaults to False.

    Raises:
        ValueError: If ``prob`` is no probability, or a sample has masks.
    """

    def __init__(
        self, prob: float, seed: int = 0, scored: bool = False
    ) -> None:
        if not 0 <= prob <= 1:
            raise ValueError(f'prob must be in [0, 1], not {prob}')
        if scored and prob in (0, 1):
            raise ValueError('links all right or all wrong need no scores')
        self.prob = prob
        self.seed = seed
        self.scored = scored

    def transform(self, results: dict) -> dict:
        """Link some regions wrongly.

        Args:
            results (dict): A sample.

        Returns:
            dict: The sample with as many boxes as before.
        """
        if 'gt_masks' in results:
            raise ValueError('MislinkRegions moves boxes, not masks')
        boxes = results['gt_bboxes']
        array = np.asarray(getattr(boxes, 'tensor', boxes))
        count = len(array)
        rng = image_generator(results, self.seed)
        chosen = np.flatnonzero(rng.random(count) < self.prob)
        moved = array.copy()
        if count > 1:
            # 1 to count - 1 places further on: never its own box
            steps = rng.integers(1, count, len(chosen))
            moved[chosen] = array[(chosen + steps) % count]
        elif len(chosen):
            sides = array[0, 2:] - array[0, :2]
            room = np.maximum(results['img_shape'][1::-1] - sides, 0)
            corner = rng.random(2) * room
            moved[0] = [*corner, *(corner + sides)]
        if hasattr(boxes, 'tensor'):
            moved = type(boxes)(moved)
        results['gt_bboxes'] = moved
        if self.scored:
            wrong = np.isin(np.arange(count), chosen)
            a, b = 2 * (1 - self.prob), 2 * self.prob
            scores = rng.beta(a + ~wrong, b + wrong)
            results['gt_scores'] = scores.astype(np.float32)
        return results

    def __repr__(self) -> str:
        return (
            f'{type(self).__name__}(prob={self.prob}, seed={self.seed}, '
            f'scored={self.scored})'
        )


@TRANSFORMS.register_module()
class KeepRegionsOfSome(BaseTransform):
    """Keep the regions of a share of the images; others have a caption only.

    An image that keeps its regions at a smaller share keeps them at a larger
    one.

    Required keys: ``img_path``, ``gt_bboxes``. Modified keys: ``gt_bboxes``,
    ``gt_bboxes_labels``, ``gt_ignore_flags``, ``gt_masks`` where present.

    Args:
        share (float): Probability that an image keeps its regions, in
            [0, 1].
        seed (int): Seed of the choice. Defaults to 0.

    Raises:
        ValueError: If ``share`` is not in [0, 1].
    """

    def __init__(self, share: float, seed: int = 0) -> None:
        if not 0 <= share <= 1:
            raise ValueError(f'share must be in [0, 1], not {share}')
        self.share = share
        self.seed = seed

    def transform(self, results: dict) -> dict:
        """Keep all regions of a sample, or none.

        Args:
            results (dict): A sample.

        Returns:
            dict: The sample.
        """
        if image_generator(results, self.seed).random() >= self.share:
            keep_regions(results, np.zeros(0, dtype=np.int64))
        return results

    def __repr__(self) -> str:
        return f'{type(self).__name__}(share={self.share}, seed={self.seed})'


@TRANSFORMS.register_module()
class ElideColours(BaseTransform):
    """Leave the colours to the captions: no phrase tells its own.

    "A small red circle beside a blue star" becomes "in red a small circle and
    in blue a star", of which "small circle" and "star" are linked. Read alone
    a phrase does not tell its colour any more; its tokens in the caption can.

    Place it before ``TokenizeRegionText``. Required and modified keys:
    ``text``, ``phrases``, which are spans of it.
    """

    def transform(self, results: dict) -> dict:
        """Write the caption anew.

        Args:
            results (dict): A sample whose phrases have one colour each.

        Returns:
            dict: The sample with the same links.
        """
        phrases = sorted(
            results['phrases'].values(), key=lambda p: p['tokens_positive']
        )
        caption = ''
        for phrase in phrases:
            words = phrase['phrase'].split()
            (colour,) = COLOURS.keys() & set(words)
            words.remove(colour)
            phrase['phrase'] = ' '.join(words)
            caption += f'{" and " if caption else ""}in {colour} a '
            start = len(caption)
            caption += phrase['phrase']
            phrase['tokens_positive'] = [[start, len(caption)]]
        results['text'] = caption
        return results

    def __repr__(self) -> str:
        return f'{type(self).__name__}()'
