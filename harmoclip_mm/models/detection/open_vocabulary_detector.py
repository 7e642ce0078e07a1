"""A two-stage detector on a frozen CLIP, for any vocabulary."""

import contextlib
import json
from pathlib import Path
from typing import Any, Dict, Iterator, Optional, Sequence, Tuple, Union

import numpy as np
import torch
from mmdet.models import TwoStageDetector
from mmdet.structures import SampleList
from torch import Tensor, nn

from harmoclip_mm.errors import DataError, UsageError
from harmoclip_mm.registry import MODELS
from harmoclip_mm.text import Vocabulary, class_to_prompt, load_vocabulary

from ..classifiers import ZeroShotClassifier, tower_fingerprint
from ..towers import clip_spec

# Bytes of the record, whatever is in it: moving averages copy the buffers
# before the first step writes it. Enough for some 50,000 classes.
RECORD_SIZE = 2**20


@MODELS.register_module()
class OpenVocabularyDetector(TwoStageDetector):
    """F-VLM's detector (arXiv 2209.15639) in the form of mmdet's.

    Both towers are frozen, the vision tower is run once an image; neck, RPN
    and RoI head are trained: Faster R-CNN or, with a mask head, Mask R-CNN.

    Its classes are those of the data set: the names ``text`` in the samples'
    metainfo, which mmdet's data sets put there with ``return_classes=True``
    and ``PackDetInputs`` hands on as a meta key. The names of the training
    go into the checkpoint, as the buffer ``record``. In a test all that were
    not trained on are novel. Samples without ``text``, as an inferencer
    makes them, ask for the classes of :meth:`set_vocabulary`, else for those
    of the training.

    Args:
        backbone (dict): A ``HarmoCLIPBackbone``, of any CLIP.
        text_encoder (dict, optional): The ``CLIPTextEncoder`` of the same
            ``clip``, which it need not name again. It encodes the class
            names. Defaults to none: embeddings come from the file
            ``text_embeddings`` of the box head.
        init_cfg (dict, optional): Type ``Pretrained`` reads a CLIP
            checkpoint of any format, or one of our trainings, into the
            towers; see :func:`init_from_checkpoint`.
        **kwargs: See mmdet's ``TwoStageDetector``: ``neck``, ``rpn_head``,
            ``roi_head`` (an ``OpenVocabularyRoIHead``, whose box head takes
            the width of the joint space from the CLIP if it names none),
            ``train_cfg``, ``test_cfg``, ``data_preprocessor``.

    Raises:
        ValueError: If the widths of towers and box head differ.
        UsageError: If there is nothing to encode class names with.
    """

    def __init__(
        self,
        backbone: Dict,
        text_encoder: Optional[Dict] = None,
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
        head = self.roi_head.bbox_head
        if self.text_encoder is None and head.text_embeddings is None:
            raise UsageError(
                'The detector has nothing to encode class names with: give '
                'it a text_encoder, or its box head text_embeddings=FILE '
                '(see tools/model_converters/dump_text_embeddings.py).'
            )
        for name in ('backbone', 'text_encoder'):
            tower = getattr(self, name)
            if tower is not None and tower.out_dims != head.embed_dims:
                raise ValueError(
                    f'The {name} has out_dims={tower.out_dims}, but the box '
                    f'head has embed_dims={head.embed_dims}: they must be '
                    'equal.'
                )
        self.backbone.requires_grad_(False)
        self.register_buffer('record', torch.zeros(RECORD_SIZE).byte())
        self._written: Optional[Tuple[str, ...]] = None
        self._asked: Optional[Tuple[Sequence[str], ZeroShotClassifier]] = None
        self._is_checked = False

    @property
    def trained_classes(self) -> Tuple[str, ...]:
        """Classes that it was trained on, read from the device."""
        return tuple(self._read_record().get('classes', ()))

    def extract_feat(
        self, batch_inputs: Union[Tensor, Tuple[Tensor, ...]]
    ) -> Tuple[Tensor, ...]:
        """Maps of the neck, each (B, C, h, w), of images (B, 3, H, W); maps
        are returned. No graph reaches into the backbone."""
        if not isinstance(batch_inputs, Tensor):
            return batch_inputs
        with torch.no_grad():
            maps = self.backbone(batch_inputs)
        return self.neck(maps) if self.with_neck else maps

    def loss(
        self, batch_inputs: Tensor, batch_data_samples: SampleList
    ) -> Dict[str, Tensor]:
        """Computes mmdet's losses over the classes of the data set, which
        are the ``text`` of the samples.

        Raises:
            DataError: If the samples name no classes, different ones, or
                more than a checkpoint has room for.
            UsageError: If embeddings of a file are of another CLIP.
        """
        classes = _classes_of(batch_data_samples)
        if classes is None:
            raise DataError(_NO_CLASSES)
        self._set_classes(classes)
        loss_cls = self.roi_head.bbox_head.loss_cls
        if hasattr(loss_cls, 'bind_classes'):
            loss_cls.bind_classes(classes)
        self._remember(classes)
        with _for_operators(self.extract_feat(batch_inputs)) as maps:
            return super().loss(maps, batch_data_samples)

    def predict(
        self,
        batch_inputs: Tensor,
        batch_data_samples: SampleList,
        rescale: bool = True,
    ) -> SampleList:
        """Detects the classes of the data set, or those asked for, as mmdet's
        detectors do.

        Samples are all with the class names ``text`` or all without; their
        ``proposals`` replace those of the RPN.

        Raises:
            DataError: If there are no classes to detect, or samples name
                different ones.
            UsageError: If embeddings of a file are of another CLIP.
        """
        self._set_test_classes(batch_data_samples)
        with torch.no_grad():
            maps, dense = self.backbone.forward_with_dense(batch_inputs)
        maps = self.neck(maps) if self.with_neck else maps
        with _for_operators(maps) as x:
            if batch_data_samples[0].get('proposals') is None:
                proposals = self.rpn_head.predict(
                    x, batch_data_samples, rescale=False
                )
            else:
                proposals = [
                    each.proposals.new() for each in batch_data_samples
                ]
            scores = self.roi_head.region_probabilities(
                dense,
                [each.bboxes for each in proposals],
                self.backbone.patch_size,
            )
            for each, own in zip(proposals, scores):
                each.region_scores = own
            results = self.roi_head.predict(
                x, proposals, batch_data_samples, rescale=rescale
            )
        return self.add_pred_to_datasample(batch_data_samples, results)

    def set_vocabulary(
        self, classes: Union[str, Path, Sequence[str], Vocabulary]
    ) -> None:
        """Asks for other classes where samples name none.

        Nothing that is trained or saved changes.

        Args:
            classes (str | Path | Sequence[str] | Vocabulary): See
                ``load_vocabulary``.

        Raises:
            ValueError: If there are no names or duplicate ones, or a file of
                embeddings lacks one.
            UsageError: If embeddings of a file are of another CLIP.
        """
        vocabulary = load_vocabulary(classes)
        words = dict(zip(vocabulary.classes, vocabulary.prompts))
        asked = vocabulary.classes, self.roi_head.bbox_head.classifier(words)
        self._set_classes(*asked)
        self._asked = asked

    def _remember(self, classes: Tuple[str, ...]) -> None:
        """Writes the record of a training, if it is another."""
        if classes == self._written:
            return
        file = self.roi_head.bbox_head.text_embeddings
        if file is not None:
            text = file.text_fingerprint
        else:
            text = _fingerprint(self.text_encoder)
        record = dict(classes=classes, text_fingerprint=text)
        content = json.dumps(record, ensure_ascii=False).encode()
        if len(content) > RECORD_SIZE:
            raise DataError(
                f'the names of {len(classes)} classes take {len(content)} '
                f'bytes, but a checkpoint has room for {RECORD_SIZE}'
            )
        padded = np.frombuffer(content.ljust(RECORD_SIZE, b'\0'), np.uint8)
        self.record.copy_(torch.from_numpy(padded.copy()))
        self._written = classes

    def _read_record(self) -> Dict[str, Any]:
        content = self.record.cpu().numpy().tobytes().rstrip(b'\0')
        return json.loads(content or '{}')

    def _set_test_classes(self, data_samples: SampleList) -> None:
        """Sets the classes of a test, and which of them are novel."""
        trained = self.trained_classes
        classes, classifier = _classes_of(data_samples), None
        if classes is None:
            classes, classifier = self._asked or (trained, None)
        if not classes:
            raise DataError(_NO_CLASSES)
        self._set_classes(classes, classifier)
        # of any spelling that is one prompt: 'Traffic_Light', 'traffic light'
        known = frozenset(map(class_to_prompt, trained))
        self.roi_head.is_novel = torch.tensor(
            [class_to_prompt(name) not in known for name in classes],
            device=self.record.device,
        )

    def _set_classes(
        self,
        classes: Sequence[str],
        classifier: Optional[ZeroShotClassifier] = None,
    ) -> None:
        """Gives the box head classes; refuses a file of another CLIP."""
        head = self.roi_head.bbox_head
        file = head.text_embeddings
        if file is not None and not self._is_checked:
            # Two CLIPs may share a vision tower, as those of a blend do.
            text = self._read_record().get('text_fingerprint')
            if self.text_encoder is not None:
                text = _fingerprint(self.text_encoder)
            vision = _fingerprint(self.backbone)
            for name, own, theirs in (
                ('text', text, file.text_fingerprint),
                ('vision', vision, file.vision_fingerprint),
            ):
                if own not in (None, theirs):
                    raise UsageError(
                        f'The text embeddings belong to another {name} tower '
                        'than that of this detector: dump them with the '
                        'checkpoint that its backbone was loaded from.'
                    )
            self._is_checked = True
        head.set_classes(classes, self.text_encoder, classifier)

    def _forward(
        self, batch_inputs: Tensor, batch_data_samples: SampleList
    ) -> Tuple:
        """Raw scores and boxes, for tools that count operations."""
        self._set_test_classes(batch_data_samples)
        return super()._forward(batch_inputs, batch_data_samples)

    def _load_from_state_dict(self, *args: Any) -> None:
        """Other weights: record and embeddings are looked at again."""
        self._written, self._is_checked = None, False
        super()._load_from_state_dict(*args)


_NO_CLASSES = (
    'the samples name no classes, and the detector remembers none to detect: '
    'set return_classes=True of the data set, and let PackDetInputs pack '
    "'text' (meta_keys)"
)


@contextlib.contextmanager
def _for_operators(
    maps: Tuple[Tensor, ...],
) -> Iterator[Tuple[Tensor, ...]]:
    """Lets heads run in a precision that mmcv's NMS and RoIAlign know: that
    of autocast if it is float16 on a GPU, else at least float32."""
    one = maps[0].new_ones(1, 1)
    lower = (one @ one).dtype  # what autocast makes of it
    known = lower == torch.float16 and one.is_cuda
    if known or lower in (torch.float32, torch.float64):
        yield maps
        return
    with torch.autocast(one.device.type, enabled=False):
        yield tuple(each.float() for each in maps)


def _classes_of(data_samples: SampleList) -> Optional[Tuple[str, ...]]:
    """The class names that the samples of a batch bring, if they do."""
    texts = [sample.get('text') for sample in data_samples]
    if any(each != texts[0] for each in texts):
        raise DataError(
            'the images of a batch ask for different classes: give one list, '
            'or one image at a time'
        )
    if isinstance(texts[0], str):
        raise DataError(
            f'the classes to detect are a list of names, not {texts[0]!r}: '
            'give them to set_vocabulary'
        )
    return texts[0] and tuple(texts[0])


def _fingerprint(tower: nn.Module) -> Optional[str]:
    """That of a tower in float32; rounded weights have lost theirs."""
    if any(each.dtype != torch.float32 for each in tower.parameters()):
        return None
    return tower_fingerprint(tower)
