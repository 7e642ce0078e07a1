"""Visualizer of samples and predictions with region texts."""

import os.path as osp
from typing import Any, List, Optional, Sequence, Tuple

import mmcv
import numpy as np
from mmdet.structures import DetDataSample
from mmdet.visualization import DetLocalVisualizer
from mmengine.dist import is_main_process

from harmoclip_mm.registry import VISUALIZERS
from harmoclip_mm.text import captions_of, phrases_of

from .drawing import (
    PALETTE,
    RIGHT_COLOR,
    WRONG_COLOR,
    Color,
    color_phrases,
    draw_regions,
    draw_text,
)

_SIGNS = {True: '\N{CHECK MARK} ', False: '\N{BALLOT X} ', None: ''}
# Suffixes of what OpenCV writes in colour.
_WRITTEN = ('.jpg', '.jpeg', '.png', '.webp', '.bmp', '.tif', '.tiff')
_LONGEST_TAG = 24  # characters of a name; expressions are in the list alone


def _percent(score: float) -> str:
    """A probability as people read it; small ones are not called 0 %."""
    return '< 1 %' if 0 < score < 0.005 else f'{100 * score:.0f} %'


def _join(pieces: Sequence[Tuple[str, Optional[Color]]]) -> Tuple[str, list]:
    """A text of pieces, and the spans of those that have a colour."""
    text, spans = '', []
    for piece, color in pieces:
        if color:
            spans.append((len(text), len(text) + len(piece), color))
        text += piece
    return text, spans


def _write_below(
    picture: np.ndarray,
    texts: Sequence[Tuple[str, list]],
    max_height: float = float('inf'),
) -> np.ndarray:
    """Texts with marked spans below a picture, not higher than so many px."""
    width = picture.shape[1]
    size = int(np.clip(width / 36, 13, 24))
    parts, left = [picture], max_height
    for n, (text, spans) in enumerate(texts):
        part = draw_text(text, width, size, spans)
        if n and len(part) > left:
            parts.append(draw_text(f'+{len(texts) - n} more', width, size))
            break
        parts.append(part)
        left -= len(part)
    return np.concatenate(parts)


@VISUALIZERS.register_module()
class RegionTextVisualizer(DetLocalVisualizer):
    """Draws regions with their phrases, or with what the model calls them.

    Small images are enlarged, so that texts can be read. It works with
    mmdet's ``DetVisualizationHook``.

    Args:
        name (str): Name of the instance. Defaults to 'visualizer'.
        shorter_side (int): Images with a shorter side below so many px are
            enlarged to about it. Defaults to 480.
        topk (int): Classes told of each predicted box. Defaults to 3.
        max_tags (int): Where an image has more boxes, their tags are only
            numbers. Defaults to 8.
        **kwargs: Keyword arguments of mmdet's ``DetLocalVisualizer``.
    """

    def __init__(
        self,
        name: str = 'visualizer',
        shorter_side: int = 480,
        topk: int = 3,
        max_tags: int = 8,
        **kwargs: Any,
    ) -> None:
        super().__init__(name=name, **kwargs)
        self.shorter_side = shorter_side
        self.topk = topk
        self.max_tags = max_tags

    def draw_region_text(
        self,
        image: np.ndarray,
        bboxes: Sequence,
        labels: Sequence[int],
        phrases: Sequence[str],
        caption: str = '',
        tokens_positive: Optional[Sequence] = None,
    ) -> np.ndarray:
        """Draw regions with their phrases above the caption, whose spans have
        the colours of the boxes they name.

        Args:
            image (np.ndarray): RGB uint8 (H, W, 3).
            bboxes (Sequence): (N, 4) xyxy in px of the image.
            labels (Sequence[int]): N indices into phrases.
            phrases (Sequence[str]): P phrases or class names.
            caption (str): The caption, '' if there is none.
            tokens_positive (Sequence, optional): P lists of character spans
                in the caption, empty for a phrase outside it.

        Returns:
            np.ndarray: RGB uint8 picture, as wide as the enlarged image.
        """
        labels = [int(label) for label in labels]
        colors, spans, outside = color_phrases(labels, tokens_positive)
        picture, scale = self._enlarge(image)
        picture = draw_regions(
            picture,
            bboxes,
            [phrases[label] for label in labels],
            [colors[label] for label in labels],
            scale=scale,
        )
        if not caption and not tokens_positive:
            return picture  # class names alone: the tags say it all
        others = []
        for label in outside:
            others += [(phrases[label], colors[label]), ('   ', None)]
        texts = [(caption or 'no caption', spans)]
        return _write_below(picture, texts + [_join(others)] * bool(others))

    def draw_predictions(
        self,
        image: np.ndarray,
        bboxes: Sequence,
        labels: Sequence,
        scores: Sequence,
        classes: Sequence[str],
        gt_labels: Optional[Sequence[int]] = None,
    ) -> np.ndarray:
        """Draw numbered regions with the predicted class above a list of the
        best classes of each and their probabilities.

        Blue and a tick tell right, orange and a cross wrong. More than
        ``max_tags`` boxes have only their numbers. The list begins with what
        is wrong and is not higher than the picture, so that some boxes may be
        left out. Where one class of a box is all that is known, the tags say
        it, and there is no list.

        Args:
            image (np.ndarray): RGB uint8 (H, W, 3).
            bboxes (Sequence): (N, 4) xyxy in px of the image.
            labels (Sequence): (N,) predicted classes or (N, K), best first;
                the first ``topk`` are told.
            scores (Sequence): Their probabilities in [0, 1], (N,) or (N, K).
            classes (Sequence[str]): Names of the classes.
            gt_labels (Sequence[int], optional): N true classes. Without them
                each class has a colour of its own.

        Returns:
            np.ndarray: RGB uint8 picture, as wide as the enlarged image.
        """
        picture, scale = self._enlarge(image)
        if not len(bboxes):
            return picture
        labels = np.asarray(labels).reshape(len(bboxes), -1)[:, : self.topk]
        scores = np.asarray(scores).reshape(len(bboxes), -1)[:, : self.topk]
        judged = gt_labels is not None
        has_list = judged or labels.shape[1] > 1
        tags, colors, entries = [], [], []
        for n, (best, *_) in enumerate(labels):
            truth = gt_labels[n] if judged else None
            right = bool(best == truth) if judged else None
            color = PALETTE[best % len(PALETTE)]
            if judged:
                color = RIGHT_COLOR if right else WRONG_COLOR
            colors.append(color)
            number = f'{n + 1} ' if has_list else ''
            told = not has_list or len(classes[best]) <= _LONGEST_TAG
            tag = f'{number}{_SIGNS[right]}{classes[best] if told else ""} '
            crowd = has_list and len(labels) > self.max_tags
            tags.append(number if crowd else tag + _percent(scores[n, 0]))
            pieces = [(number.strip(), color), (f'  {_SIGNS[right]}', None)]
            for label, score in zip(labels[n], scores[n]):
                known = {best: color, truth: RIGHT_COLOR}
                pieces.append((classes[label], known.get(label)))
                pieces.append((f' {_percent(score)}    ', None))
            if right is False:
                pieces += [('is ', None), (classes[truth], RIGHT_COLOR)]
            entries.append(_join(pieces))
        picture = draw_regions(picture, bboxes, tags, colors, scale)
        if not has_list:
            return picture
        order = sorted(
            range(len(labels)), key=lambda n: colors[n] == RIGHT_COLOR
        )
        entries = [entries[n] for n in order]
        return _write_below(picture, entries, len(picture))

    def _enlarge(self, image: np.ndarray) -> Tuple[np.ndarray, int]:
        """A small picture times a whole factor, and the factor."""
        factor = max(1, round(self.shorter_side / min(image.shape[:2])))
        if factor > 1:
            image = mmcv.imrescale(image, factor, interpolation='bicubic')
        return image, factor

    def _names(self, data_sample: DetDataSample, labels) -> List[str]:
        """Names of the labels: phrases of the sample, else classes."""
        names = phrases_of(data_sample.metainfo)
        names = names or (self._dataset_meta or {}).get('classes')
        # Without names the numbers still tell equal from different.
        return list(names or map(str, range(1 + max([-1, *labels.tolist()]))))

    def add_datasample(
        self,
        name: str,
        image: np.ndarray,
        data_sample: Optional[DetDataSample] = None,
        draw_gt: bool = True,
        draw_pred: bool = True,
        show: bool = False,
        wait_time: float = 0,
        out_file: Optional[str] = None,
        pred_score_thr: float = 0.0,
        step: int = 0,
    ) -> None:
        """Draw a data sample; show it, save it, which every process does, or
        hand it to the backends.

        With ``pred_instances`` the predictions are drawn and judged by
        ``gt_instances``, else the annotations; those of predictions without
        an answer (boxes that phrases search) where the predictions have them.

        Arguments are mmdet's; the image is RGB uint8 (H, W, 3), and boxes are
        in its px. An ``out_file`` of another suffix than those that OpenCV
        writes in colour gets a ``.jpg`` behind it.
        """
        picture = image
        if data_sample is not None:
            truth = data_sample.get('gt_instances') if draw_gt else None
            pred = data_sample.get('pred_instances') if draw_pred else None
            if pred is not None and 'scores' in pred:
                keep = pred.scores >= pred_score_thr
                labels, scores = pred.labels, pred.scores
                if 'topk_labels' in pred and 'topk_scores' in pred:
                    labels, scores = pred.topk_labels, pred.topk_scores
                # Row n answers row n of the annotations, unless the boxes
                # are a detector's own.
                answers = 'topk_labels' in pred or 'candidate_logits' in pred
                judged = answers and truth is not None
                classes = (self._dataset_meta or {}).get('classes')
                picture = self.draw_predictions(
                    image,
                    pred.bboxes[keep].tolist(),
                    labels[keep].tolist(),
                    scores[keep].tolist(),
                    classes or self._names(data_sample, labels.flatten()),
                    truth.labels[keep].tolist() if judged else None,
                )
            elif truth is not None:
                meta = data_sample.metainfo
                captions = captions_of(meta) or ['']
                phrases = meta.get('phrases', {}).values()
                boxes = (truth if pred is None else pred).bboxes
                boxes = getattr(boxes, 'tensor', boxes)
                picture = self.draw_region_text(
                    image,
                    boxes.tolist(),
                    truth.labels.tolist(),
                    self._names(data_sample, truth.labels),
                    captions[0],
                    [each['tokens_positive'] for each in phrases],
                )
        self.set_image(picture)
        if show:
            self.show(picture, win_name=name, wait_time=wait_time)
        if out_file is not None:
            if osp.splitext(out_file)[1].lower() not in _WRITTEN:
                out_file = f'{out_file}.jpg'
            mmcv.imwrite(picture[..., ::-1], out_file)
        elif is_main_process():
            self.add_image(name, picture, step)
