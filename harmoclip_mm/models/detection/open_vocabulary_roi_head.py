"""Detector's and CLIP's opinion of a box, joined."""

from typing import Dict, List, Optional, Sequence, Tuple

import torch
from mmdet.models import StandardRoIHead
from mmdet.models.layers import multiclass_nms
from mmdet.structures.bbox import bbox2roi
from mmdet.utils import InstanceList
from torch import Tensor

from harmoclip_mm.registry import MODELS

from ..layers import cosine_logits
from ..region_extractors import RoIFeatureExtractor


def join_scores(
    detector: Tensor,
    region: Tensor,
    is_novel: Tensor,
    alpha: float,
    beta: float,
) -> Tensor:
    """Geometric mean of two class probabilities.

    ``s = p^(1 - a) q^a`` with p the detector's and q the region's
    probability, a = alpha for base and beta for novel classes (F-VLM, arXiv
    2209.15639, section 3.3).

    Args:
        detector (Tensor): Probabilities, shape (N, C + 1), background last.
        region (Tensor): Probabilities, shape (N, C).
        is_novel (Tensor): Novel classes, shape (C,), bool.
        alpha (float): Weight of the region for base classes, in [0, 1].
        beta (float): The same for novel classes.

    Returns:
        Tensor: Scores, shape (N, C + 1); the background keeps the
        detector's.
    """
    weight = torch.where(
        is_novel,
        detector.new_tensor(beta),
        detector.new_tensor(alpha),
    )
    joined = detector[:, :-1] ** (1 - weight) * region**weight
    return torch.cat([joined, detector[:, -1:]], dim=1)


@MODELS.register_module()
class OpenVocabularyRoIHead(StandardRoIHead):
    """mmdet's RoI head that asks the frozen dense map as well.

    At test time each proposal is pooled from CLIP's dense map; the softmax
    of its scaled cosines with the classes, without background, is joined
    with the detector's probability, see :func:`join_scores`. Training is
    mmdet's. A CLIP that was trained with a sigmoid (SigLIP) is asked by the
    same softmax, since both opinions have to be shares of one; its bias would
    change none of them.

    Args:
        bbox_head (dict): A ``TextEmbeddingBBoxHead``.
        alpha (float): Weight of the dense map for base classes, in [0, 1].
            Defaults to 0.35.
        beta (float): The same for novel classes. Defaults to 0.65.
        region_scale (float): Factor of the cosines of the dense map; 100 is
            the scale of OpenAI's CLIP. Defaults to 100.
        mask_head (dict, optional): A class-agnostic mask head. Defaults to
            none.
        **kwargs: See mmdet's ``StandardRoIHead``.

    Attributes:
        is_novel (Tensor, optional): Which of the classes of a test are
            novel, shape (C,), bool; the detector says it with the classes.

    Raises:
        ValueError: If a weight lies outside [0, 1], or the mask head is not
            class-agnostic.
    """

    is_novel: Optional[Tensor] = None

    def __init__(
        self,
        bbox_head: Dict,
        alpha: float = 0.35,
        beta: float = 0.65,
        region_scale: float = 100.0,
        mask_head: Optional[Dict] = None,
        **kwargs,
    ) -> None:
        if not (0 <= alpha <= 1 and 0 <= beta <= 1):
            raise ValueError(
                f'alpha and beta must lie in [0, 1], not {alpha} and {beta}.'
            )
        if mask_head is not None and not mask_head.get('class_agnostic'):
            raise ValueError(
                'The mask head needs class_agnostic=True: novel classes have '
                'no masks of their own.'
            )
        super().__init__(bbox_head=bbox_head, mask_head=mask_head, **kwargs)
        self.region_extractor = RoIFeatureExtractor()
        self.alpha, self.beta = alpha, beta
        self.region_scale = region_scale

    def predict_bbox(
        self,
        x: Tuple[Tensor, ...],
        batch_img_metas: List[Dict],
        rpn_results_list: InstanceList,
        rcnn_test_cfg: Dict,
        rescale: bool = False,
    ) -> InstanceList:
        """As mmdet, with the ``region_scores`` (N_i, C) of proposals that
        have them, see :meth:`region_probabilities`."""
        # Without a test_cfg mmdet gives all boxes with all probabilities.
        results = super().predict_bbox(
            x, batch_img_metas, rpn_results_list, None, rescale
        )
        cfg = rcnn_test_cfg
        for each, proposals in zip(results, rpn_results_list):
            boxes, scores = each.pop('bboxes'), each.pop('scores')
            each.pop('labels', None)  # of mmdet's result without boxes
            if 'region_scores' in proposals:
                scores = join_scores(
                    scores,
                    proposals.region_scores,
                    self.is_novel,
                    self.alpha,
                    self.beta,
                )
            found, labels = multiclass_nms(
                boxes, scores, cfg.score_thr, cfg.nms, cfg.max_per_img
            )
            each.bboxes, each.scores = found[:, :4], found[:, 4]
            each.labels = labels
        return results

    def region_probabilities(
        self, dense: Tensor, boxes: Sequence[Tensor], stride: int
    ) -> Sequence[Tensor]:
        """What the dense map says of boxes.

        Args:
            dense (Tensor): Dense map, shape (B, D, h, w), not normalised.
            boxes (Sequence[Tensor]): xyxy in pixels of the network input,
                shapes (N_i, 4).
            stride (int): Side of a cell of the map in pixels.

        Returns:
            Sequence[Tensor]: Probabilities of the classes, shapes (N_i, C),
            float32.
        """
        features = self.region_extractor.pool(
            self.region_extractor.prepare(dense), bbox2roi(boxes), stride
        )
        scale = features.new_tensor(self.region_scale)
        logits = cosine_logits(features, self.bbox_head.class_rows, scale)
        return logits.softmax(dim=-1).split([len(each) for each in boxes])
