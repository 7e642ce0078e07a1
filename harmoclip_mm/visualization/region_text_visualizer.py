"""Visualizer of samples and predictions with region texts."""

from typing import List, Optional, Sequence

import mmcv
import numpy as np
from mmdet.visualization import DetLocalVisualizer
from mmengine.dist import master_only

from harmoclip_mm.registry import VISUALIZERS

from .drawing import (
    PALETTE,
    RIGHT_COLOR,
    WRONG_COLOR,
    draw_caption,
    draw_regions,
    enlarge,
    phrase_colors,
    stack_horizontally,
    stack_vertically,
)
from .prediction_list import (
    RIGHT_SIGN,
    WRONG_SIGN,
    BoxGuess,
    draw_prediction_list,
    percent,
)

__all__ = ['RegionTextVisualizer']


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
        **kwargs,
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
                in the caption, or None for a phrase outside it.

        Returns:
            np.ndarray: RGB uint8 picture, as wide as the enlarged image.
        """
        labels = [int(label) for label in labels]
        # Colours by first use, so that few phrases never share one.
        rank = {label: i for i, label in enumerate(dict.fromkeys(labels))}
        palette = phrase_colors(len(rank))
        picture, scale = self._enlarge(image)
        picture = draw_regions(
            picture,
            bboxes,
            [phrases[label] for label in labels],
            [palette[rank[label]] for label in labels],
            scale=scale,
        )
        spans, chips = [], []
        for label, i in rank.items():
            own = tokens_positive[label] if tokens_positive else None
            if own:
                spans += [(start, end, palette[i]) for start, end in own]
            else:
                chips.append((phrases[label], palette[i]))
        if not caption and not tokens_positive:
            return picture  # class names alone: the tags say it all
        below = draw_caption(caption, picture.shape[1], spans, chips)
        return stack_vertically(picture, below)

    def draw_predictions(
        self,
        image: np.ndarray,
        bboxes: Sequence,
        labels: Sequence,
        scores: Sequence,
        classes: Sequence[str],
        gt_labels: Optional[Sequence[int]] = None,
    ) -> np.ndarray:
        """Draw numbered regions with the predicted class, and beside them a
        list with the best classes of each and their probabilities.

        Blue and a tick tell right, orange and a cross wrong. More than
        ``max_tags`` boxes have only their numbers.

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
            np.ndarray: RGB uint8 picture.
        """
        picture, scale = self._enlarge(image)
        if not len(bboxes):
            return picture
        labels = np.asarray(labels).reshape(len(bboxes), -1)[:, : self.topk]
        scores = np.asarray(scores).reshape(len(bboxes), -1)[:, : self.topk]
        guesses = []
        for n, (best, each) in enumerate(zip(labels, scores)):
            if gt_labels is None:
                truth, color = None, PALETTE[best[0] % len(PALETTE)]
            else:
                truth = classes[int(gt_labels[n])]
                right = best[0] == int(gt_labels[n])
                color = RIGHT_COLOR if right else WRONG_COLOR
            names = [classes[label] for label in best]
            guesses.append(BoxGuess(names, each.tolist(), color, truth))
        tags = []
        for n, guess in enumerate(guesses, start=1):
            if len(guesses) > self.max_tags:
                tags.append(str(n))
                continue
            sign = {True: f'{RIGHT_SIGN} ', False: f'{WRONG_SIGN} '}
            tags.append(
                f'{n} {sign.get(guess.right, "")}{guess.names[0]} '
                f'{percent(guess.scores[0])}'
            )
        colors = [guess.color for guess in guesses]
        picture = draw_regions(picture, bboxes, tags, colors, scale=scale)
        beside = draw_prediction_list(guesses, picture.shape[0])
        return stack_horizontally(picture, beside)

    def _enlarge(self, image: np.ndarray):
        picture = enlarge(image, self.shorter_side)
        factor = picture.shape[0] / image.shape[0]
        return picture, (factor, factor)

    def _names(self, data_sample, labels) -> List[str]:
        """Names of the labels: phrases of the sample, else classes."""
        names = data_sample.metainfo.get('phrases')
        if not names:
            names = (self.dataset_meta or {}).get('classes')
        if not names:
            # Without names the numbers still tell equal from different.
            top = max((int(label) for label in labels), default=-1)
            names = [str(label) for label in range(top + 1)]
        return list(names)

    @master_only
    def add_datasample(
        self,
        name: str,
        image: np.ndarray,
        data_sample=None,
        draw_gt: bool = True,
        draw_pred: bool = True,
        show: bool = False,
        wait_time: float = 0,
        out_file: Optional[str] = None,
        pred_score_thr: float = 0.0,
        step: int = 0,
    ) -> None:
        """Draw a data sample; show it, save it, or hand it to the backends.

        With ``pred_instances`` the predictions are drawn and judged by
        ``gt_instances``, else the annotations.

        Args:
            name (str): Name of the picture.
            image (np.ndarray): RGB uint8 (H, W, 3), in whose px the boxes are.
            data_sample (DetDataSample, optional): What to draw.
            draw_gt (bool): Judge predictions by the truth, or draw it.
            draw_pred (bool): Draw predictions where there are any.
            show (bool): Open a window.
            wait_time (float): Seconds the window stays; 0 waits for a key.
            out_file (str, optional): File to write.
            pred_score_thr (float): Boxes of lower probability are left out.
            step (int): Step for the backends.
        """
        picture = image
        if data_sample is not None:
            truth = data_sample.get('gt_instances') if draw_gt else None
            pred = data_sample.get('pred_instances') if draw_pred else None
            if pred is not None:
                keep = pred.scores >= pred_score_thr
                # Row n of the predictions answers row n of the annotations,
                # unless the boxes are a detector's own.
                matched = truth is not None and len(truth) == len(pred)
                classes = (self.dataset_meta or {}).get('classes')
                labels, scores = pred.labels, pred.scores
                if 'topk_labels' in pred and 'topk_scores' in pred:
                    labels, scores = pred.topk_labels, pred.topk_scores
                picture = self.draw_predictions(
                    image,
                    pred.bboxes[keep].tolist(),
                    labels[keep].tolist(),
                    scores[keep].tolist(),
                    classes or self._names(data_sample, labels.flatten()),
                    truth.labels[keep].tolist() if matched else None,
                )
            elif truth is not None:
                meta = data_sample.metainfo
                captions = meta.get('captions') or ['']
                boxes = getattr(truth.bboxes, 'tensor', truth.bboxes)
                picture = self.draw_region_text(
                    image,
                    boxes.tolist(),
                    truth.labels.tolist(),
                    self._names(data_sample, truth.labels),
                    captions[0],
                    meta.get('tokens_positive'),
                )
        self.set_image(picture)
        if show:
            self.show(picture, win_name=name, wait_time=wait_time)
        if out_file is not None:
            mmcv.imwrite(picture[..., ::-1], out_file)
        else:
            self.add_image(name, picture, step)
