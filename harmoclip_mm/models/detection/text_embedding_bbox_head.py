"""A box head whose classes are text embeddings."""

from typing import Any, Dict, Optional, Tuple

import torch
import torch.nn.functional as F
from mmdet.models import ConvFCBBoxHead
from torch import Tensor, nn

from harmoclip_mm.registry import MODELS

from ..classifiers import TextEmbeddings
from ..layers import LogitScale
from .vocabulary import split_vocabulary
from .vocabulary_memory import VocabularyMemory


@MODELS.register_module()
class TextEmbeddingBBoxHead(ConvFCBBoxHead):
    """mmdet's box head with cosines in place of a matrix of classes.

    Class scores are ``scale * cos(z, e_c)`` with z the box feature projected
    to the joint space and e_c the text embedding of class c; the last score
    is that of a learned background embedding (F-VLM, arXiv 2209.15639,
    section 3.2). Convolutions, linear layers, regression and losses are
    those of mmdet; regression is class-agnostic.

    The scale is the head's own and scores are a softmax's, whatever the CLIP
    was trained with: a SigLIP gives its embeddings and nothing else.

    In training the base classes of the vocabulary are scored, the labels of
    the training data set; in evaluation all classes are. ``num_classes``
    follows.

    Args:
        embed_dims (int): Width D of the joint space.
        vocabulary (dict): The classes:

            - ``classes``, ``base``, ``novel``: see :func:`split_vocabulary`;
            - ``text_embeddings`` (str, optional): file of
              ``dump_text_embeddings.py``; without it a detector with a
              ``text_encoder`` encodes the names;
            - ``templates``, ``mode`` (optional): see ``ZeroShotClassifier``,
              for names that the detector encodes.
        scale (float): Factor of the cosines, 1 / temperature, at the start.
            Defaults to 50.
        learnable_scale (bool): Whether it is trained, at most to 100.
            Defaults to True.
        reg_class_agnostic (bool): Has to be True, the default.
        **kwargs: See mmdet's ``ConvFCBBoxHead``; ``num_classes`` is not
            needed.

    Raises:
        ValueError: If regression is not class-agnostic, or the vocabulary
            is not legal.
        CheckpointError: If ``text_embeddings`` cannot be read.
        UsageError: If it has another width.
    """

    def __init__(
        self,
        embed_dims: int,
        vocabulary: Dict,
        scale: float = 50.0,
        learnable_scale: bool = True,
        reg_class_agnostic: bool = True,
        num_classes: Optional[int] = None,
        **kwargs: Any,
    ) -> None:
        if not reg_class_agnostic:
            raise ValueError(
                'TextEmbeddingBBoxHead needs reg_class_agnostic=True: novel '
                'classes have no regression of their own.'
            )
        super().__init__(num_classes=1, reg_class_agnostic=True, **kwargs)
        settings = dict(vocabulary)
        file = settings.pop('text_embeddings', None)
        memory = {
            key: settings.pop(key)
            for key in ('templates', 'mode')
            if key in settings
        }
        split = split_vocabulary(**settings)
        if num_classes not in (None, len(split.vocabulary)):
            raise ValueError(
                f'num_classes is {num_classes}, but the vocabulary has '
                f'{len(split.vocabulary)} classes: leave num_classes out.'
            )
        self.vocabulary = VocabularyMemory(split, embed_dims, **memory)
        if file is not None:
            self.vocabulary.fill(TextEmbeddings.load(file))
        self.fc_cls = nn.Linear(self.cls_last_dim, embed_dims)
        self.background = nn.Parameter(
            torch.randn(embed_dims) * embed_dims**-0.5
        )
        self.logit_scale = LogitScale(scale, learnable=learnable_scale)
        if hasattr(self.loss_cls, 'bind_classes'):
            self.loss_cls.bind_classes(split.base)

    @property
    def num_classes(self) -> int:
        """Classes without background: base ones in training, else all."""
        vocabulary = self._modules.get('vocabulary')
        return 1 if vocabulary is None else len(vocabulary.rows())

    @num_classes.setter
    def num_classes(self, value: int) -> None:
        """mmdet's constructor sets it, but the vocabulary decides."""

    def forward(self, x: Tensor) -> Tuple[Tensor, Tensor]:
        """Scores boxes.

        Args:
            x (Tensor): RoI features, shape (N, C, h, w).

        Returns:
            Tuple[Tensor, Tensor]: Scores (N, num_classes + 1), float32, the
            background last, and regression (N, 4).
        """
        projected, bbox_pred = super().forward(x)
        return self.score(projected), bbox_pred

    def score(self, projected: Tensor) -> Tensor:
        """Compares box features with the classes.

        Args:
            projected (Tensor): Features in the joint space, shape (N, D).

        Returns:
            Tensor: Scores, shape (N, num_classes + 1), float32.
        """
        # A product in bfloat16 would tie classes that are apart.
        with torch.autocast(projected.device.type, enabled=False):
            rows = torch.cat(
                [self.vocabulary.rows(), self.background.float()[None]]
            )
            cosines = F.linear(
                F.normalize(projected.float(), dim=-1),
                F.normalize(rows.float(), dim=-1),
            )
            return self.logit_scale()[0].float() * cosines
