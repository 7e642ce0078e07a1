"""A two-stage detector on a frozen CLIP, for any vocabulary."""

import contextlib
from pathlib import Path
from typing import Any, Dict, Optional, Sequence, Tuple, Union

import torch
from mmdet.models import TwoStageDetector
from mmdet.structures import SampleList
from torch import Tensor, nn

from harmoclip_mm.errors import UsageError
from harmoclip_mm.registry import MODELS
from harmoclip_mm.text import Vocabulary, load_vocabulary

from ..classifiers import (
    TextEmbeddings,
    encode_vocabulary,
    tower_fingerprint,
)
from ..clip.freezing import freeze
from ..towers import clip_spec
from .vocabulary import members
from .vocabulary_memory import UNKNOWN, VocabularyMemory


@MODELS.register_module()
class OpenVocabularyDetector(TwoStageDetector):
    """F-VLM's detector (arXiv 2209.15639) in the form of mmdet's.

    The vision tower is frozen and run once an image; neck, RPN and RoI head
    are trained on the base classes. The class serves Faster R-CNN and, with
    a mask head in the RoI head, Mask R-CNN.

    Args:
        backbone (dict): A ``HarmoCLIPBackbone``, of any CLIP.
        text_encoder (dict, optional): The ``CLIPTextEncoder`` of the same
            ``clip``, which it need not name again. It is never trained, and
            serves :meth:`set_vocabulary` by names. Defaults to none:
            embeddings come from files.
        frozen (Sequence[str]): Regular expressions of the parameters that
            are not trained, matched from the start of their names. Defaults
            to the backbone.
        init_cfg (dict, optional): Type ``Pretrained`` reads a CLIP
            checkpoint of any format, or one of our trainings, into the
            towers; see :func:`init_from_checkpoint`.
        **kwargs: See mmdet's ``TwoStageDetector``: ``neck``, ``rpn_head``,
            ``roi_head`` (an ``OpenVocabularyRoIHead``, whose box head takes
            the width of the joint space from the CLIP if it names none),
            ``train_cfg``, ``test_cfg``, ``data_preprocessor``.

    Raises:
        ValueError: If nothing matches one of ``frozen``, or the widths of
            towers and box head differ.
    """

    def __init__(
        self,
        backbone: Dict,
        text_encoder: Optional[Dict] = None,
        frozen: Sequence[str] = ('backbone',),
        init_cfg: Optional[Dict] = None,
        **kwargs: Any,
    ) -> None:
        if init_cfg is not None:  # the towers know how to load their parts
            backbone = {'init_cfg': init_cfg, **backbone}
            text_encoder = text_encoder and {
                'init_cfg': init_cfg,
                **text_encoder,
            }
        clip = backbone.get('clip')
        if clip is not None:
            roi_head = kwargs['roi_head']
            width = dict(embed_dims=clip_spec(clip).embed_dim)
            kwargs['roi_head'] = {
                **roi_head,
                'bbox_head': {**width, **roi_head['bbox_head']},
            }
        super().__init__(backbone=backbone, **kwargs)
        self.text_encoder = text_encoder and MODELS.build(
            {'clip': clip, **text_encoder, 'frozen': True}
        )
        width = self.memory.embeddings.shape[1]
        for name in ('backbone', 'text_encoder'):
            tower = getattr(self, name)
            if tower is not None and tower.out_dims != width:
                raise ValueError(
                    f'The {name} has out_dims={tower.out_dims}, but the box '
                    f'head has embed_dims={width}: they must be equal.'
                )
        freeze(self, frozen)
        self._is_ready = False

    @property
    def memory(self) -> VocabularyMemory:
        """The vocabulary and its embeddings."""
        return self.roi_head.bbox_head.vocabulary

    @property
    def backbone_is_frozen(self) -> bool:
        """Whether no parameter of the backbone is trained."""
        return not any(w.requires_grad for w in self.backbone.parameters())

    def train(self, mode: bool = True) -> 'OpenVocabularyDetector':
        """Sets the mode; a frozen backbone stays in evaluation mode."""
        super().train(mode)
        if self.backbone_is_frozen:
            self.backbone.eval()
        return self

    def extract_feat(self, batch_inputs: Tensor) -> Tuple[Tensor, ...]:
        """Maps of the neck; no graph reaches into a frozen backbone.

        Args:
            batch_inputs (Tensor): Normalised images, shape (B, 3, H, W).

        Returns:
            Tuple[Tensor, ...]: Maps, each (B, C, h, w).
        """
        with self._backbone_grad():
            maps = self.backbone(batch_inputs)
        return self.neck(maps) if self.with_neck else maps

    def loss(
        self, batch_inputs: Tensor, batch_data_samples: SampleList
    ) -> Dict[str, Tensor]:
        """Computes mmdet's losses over the base classes.

        Args:
            batch_inputs (Tensor): Normalised images, shape (B, 3, H, W).
            batch_data_samples (SampleList): Samples whose ``gt_instances``
                have labels into the base classes.

        Returns:
            Dict[str, Tensor]: Losses.
        """
        self.prepare_vocabulary()
        return super().loss(batch_inputs, batch_data_samples)

    def predict(
        self,
        batch_inputs: Tensor,
        batch_data_samples: SampleList,
        rescale: bool = True,
    ) -> SampleList:
        """Detects the classes of the vocabulary.

        Args:
            batch_inputs (Tensor): Normalised images, shape (B, 3, H, W).
            batch_data_samples (SampleList): Their samples; ``proposals``
                replace those of the RPN.
            rescale (bool): Whether boxes and masks are those of the original
                image. Defaults to True.

        Returns:
            SampleList: The samples with ``pred_instances``: ``bboxes``
            (N, 4), ``scores``, ``labels`` and, with a mask head, ``masks``.
        """
        self.prepare_vocabulary()
        with self._backbone_grad():
            maps, dense = self.backbone.forward_with_dense(batch_inputs)
        x = self.neck(maps) if self.with_neck else maps
        if batch_data_samples[0].get('proposals') is None:
            proposals = self.rpn_head.predict(
                x, batch_data_samples, rescale=False
            )
        else:
            proposals = [each.proposals for each in batch_data_samples]
        results = self.roi_head.predict(
            x,
            proposals,
            batch_data_samples,
            rescale=rescale,
            dense=dense,
            stride=self.backbone.patch_size,
        )
        return self.add_pred_to_datasample(batch_data_samples, results)

    def set_vocabulary(
        self,
        classes: Union[str, Sequence[str], Vocabulary, None] = None,
        novel: Union[str, Sequence[str], None] = None,
        text_embeddings: Optional[Union[str, Path]] = None,
        templates: Union[str, Sequence[str], None] = None,
        mode: Optional[str] = None,
    ) -> None:
        """Replaces the classes that predictions are made for.

        Trained weights and the classes of the training stay as they are. Not
        between the steps of a training with a moving average, whose buffers
        have the size of the old vocabulary.

        Args:
            classes (str | Sequence[str] | Vocabulary, optional): See
                ``load_vocabulary``. Defaults to those of the file.
            novel (str | Sequence[str], optional): Group or names of the
                novel ones. Defaults to all that the detector has not been
                trained on.
            text_embeddings (str | Path, optional): File of their embeddings.
                Defaults to none: ``text_encoder`` encodes the names.
            templates (str | Sequence[str], optional): Templates for that.
                Defaults to those in use.
            mode (str, optional): Mode of the classifier. Defaults to that in
                use.

        Raises:
            ValueError: If names are not in the list, are duplicate or are
                both base and novel, or there are none.
            UsageError: If there is nothing to encode with, or the file is of
                another CLIP.
        """
        self.prepare_vocabulary()
        memory = self.memory
        record = memory.read()
        found = None
        if text_embeddings is not None:
            found = TextEmbeddings.load(text_embeddings)
            if classes is None:
                classes = found.classes
        if classes is None:
            raise ValueError('set_vocabulary needs classes or a file.')
        vocabulary = load_vocabulary(classes)
        if novel is not None:
            novel = members(vocabulary, novel)
        if found is None:
            found = self._encode(
                vocabulary,
                record.templates if templates is None else templates,
                mode or record.mode,
            )
        else:
            self._check_towers(
                found, record.text_fingerprint, str(text_embeddings)
            )
        memory.replace_classes(vocabulary, found, novel)

    def prepare_vocabulary(self) -> None:
        """Encodes the vocabulary if that was not done, and checks it.

        The first training step or prediction after loading weights calls
        this, when towers and embeddings are what they will be.

        Raises:
            UsageError: If there is nothing to encode with, or the embeddings
                are of another CLIP.
        """
        if self._is_ready:
            return
        record = self.memory.read()
        if record.is_encoded:
            self._check_towers(
                self.memory.as_embeddings(), UNKNOWN, 'of the vocabulary'
            )
        else:
            self.memory.fill(
                self._encode(record.vocabulary, record.templates, record.mode)
            )
        self._is_ready = True

    def _encode(
        self,
        vocabulary: Vocabulary,
        templates: Union[str, Sequence[str]],
        mode: str,
    ) -> TextEmbeddings:
        if self.text_encoder is None:
            raise UsageError(
                'The detector has no text_encoder to encode class names '
                'with: give it one, or text_embeddings=FILE (see '
                'tools/model_converters/dump_text_embeddings.py).'
            )
        return encode_vocabulary(
            self.text_encoder, self.backbone, vocabulary, templates, mode
        )

    def _check_towers(
        self, found: TextEmbeddings, text_fingerprint: str, name: str
    ) -> None:
        if self.text_encoder is not None:
            text_fingerprint = _fingerprint(self.text_encoder)
        pairs = [('text', text_fingerprint, found.text_fingerprint)]
        # One that is trained is not the tower that it was.
        if self.backbone_is_frozen:
            own = _fingerprint(self.backbone)
            pairs.append(('vision', own, found.vision_fingerprint))
        for tower, own, theirs in pairs:
            if own not in (UNKNOWN, theirs):
                raise UsageError(
                    f'The text embeddings {name} belong to another {tower} '
                    'tower than that of this detector: dump them with the '
                    'checkpoint that its backbone was loaded from.'
                )

    def _backbone_grad(self) -> contextlib.AbstractContextManager:
        if self.backbone_is_frozen:
            return torch.no_grad()
        return contextlib.nullcontext()

    def _load_from_state_dict(self, *args: Any) -> None:
        """Other weights: towers and embeddings have to be checked again."""
        self._is_ready = False
        super()._load_from_state_dict(*args)

    def init_weights(self) -> None:
        """Draws the weights, and loads those that ``init_cfg`` names."""
        self._is_ready = False
        super().init_weights()


def _fingerprint(tower: nn.Module) -> str:
    """That of a tower in float32; rounded weights have lost theirs."""
    if any(each.dtype != torch.float32 for each in tower.parameters()):
        return UNKNOWN
    return tower_fingerprint(tower)
