"""A box head whose classes are text embeddings."""

from functools import partial
from typing import Any, Mapping, Optional, Sequence, Tuple, Union

import torch
import torch.nn.functional as F
from mmdet.models import ConvFCBBoxHead
from torch import Tensor, nn

from harmoclip_mm.errors import UsageError
from harmoclip_mm.registry import MODELS

from ..classifiers import TextEmbeddings, ZeroShotClassifier
from ..layers import LogitScale, cosine_logits


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

    Which classes, the detector says before each pass (:meth:`set_classes`);
    no weight depends on their number.

    Args:
        embed_dims (int): Width D of the joint space.
        templates (str | Sequence[str]): See ``ZeroShotClassifier``.
        prompts (str | Mapping[str, str], optional): See there.
        text_embeddings (str, optional): File of ``dump_text_embeddings.py``
            in which classes are looked up by name. Defaults to none: the
            detector's text tower encodes them.
        scale (float): Factor of the cosines, 1 / temperature, at the start.
            It is trained, at most to 100. Defaults to 50.
        **kwargs: See mmdet's ``ConvFCBBoxHead``.

    Raises:
        ValueError: If a number of classes or a regression for each class is
            asked for, or templates are unknown.
        CheckpointError: If ``text_embeddings`` cannot be read.
        UsageError: If they have another width.
    """

    class_rows: Optional[Tensor] = None

    def __init__(
        self,
        embed_dims: int,
        templates: Union[str, Sequence[str]] = 'openai80',
        prompts: Union[str, Mapping[str, str], None] = None,
        text_embeddings: Optional[str] = None,
        scale: float = 50.0,
        **kwargs: Any,
    ) -> None:
        if 'num_classes' in kwargs or not kwargs.get(
            'reg_class_agnostic', True
        ):
            raise ValueError(
                'TextEmbeddingBBoxHead has the classes of the data set, and '
                'one regression for all of them, novel ones included: leave '
                'num_classes and reg_class_agnostic out.'
            )
        kwargs['reg_class_agnostic'] = True
        super().__init__(num_classes=1, **kwargs)
        self.embed_dims = embed_dims
        # Takes prompts; gives what encodes names and keeps those asked last.
        self.classifier = partial(ZeroShotClassifier, templates)
        # One for the classes of the training, one for those of a test. A
        # tuple keeps train() and eval() from them, by which a classifier
        # forgets: the text tower is never trained.
        self._classifiers = tuple(self.classifier(prompts) for _ in range(2))
        self.text_embeddings: Optional[TextEmbeddings] = None
        if text_embeddings is not None:
            found = TextEmbeddings.load(text_embeddings)
            width = found.embeddings.shape[1]
            if width != embed_dims:
                raise UsageError(
                    f'The text embeddings {text_embeddings} have {width} '
                    f'dimensions, but the detector has {embed_dims}: dump '
                    'them with the CLIP whose vision tower is its backbone.'
                )
            self.text_embeddings = found
        self.fc_cls = nn.Linear(self.cls_last_dim, embed_dims)
        self.background = nn.Parameter(
            torch.randn(embed_dims) * embed_dims**-0.5
        )
        self.logit_scale = LogitScale(scale)

    @property
    def num_classes(self) -> int:
        """Classes that are scored, without background."""
        return 1 if self.class_rows is None else len(self.class_rows)

    @num_classes.setter
    def num_classes(self, value: int) -> None:
        """mmdet's constructor sets it, but the classes decide."""

    @torch.no_grad()
    def set_classes(
        self,
        classes: Sequence[str],
        text_encoder: Optional[nn.Module],
        classifier: Optional[ZeroShotClassifier] = None,
    ) -> None:
        """Sets the classes that are scored from now on.

        Args:
            classes (Sequence[str]): Names in the order of the labels.
            text_encoder (nn.Module, optional): Encodes them, where they are
                not looked up in a file.
            classifier (ZeroShotClassifier, optional): Made by
                ``classifier``. Defaults to the head's own.

        Raises:
            DataError: If the file or ``prompts`` lack a class.
        """
        if self.text_embeddings is not None:
            rows = self.text_embeddings.rows(classes)
            self.class_rows = rows.to(self.background.device)
            return
        classifier = classifier or self._classifiers[self.training]
        device = self.background.device.type
        # They are kept: those of a first step in bfloat16 would be rounded.
        with torch.autocast(device, enabled=False):
            self.class_rows = classifier.class_embeddings(
                classes, text_encoder
            )

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
        rows = torch.cat([self.class_rows, self.background.float()[None]])
        return cosine_logits(
            F.normalize(projected.float(), dim=-1),
            F.normalize(rows.float(), dim=-1),
            self.logit_scale()[0],
        )
