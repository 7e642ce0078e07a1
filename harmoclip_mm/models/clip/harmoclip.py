"""HarmoCLIP: two towers, and whatever heads a method hangs on them."""

import copy
import re
from typing import Dict, List, Optional, Sequence, Set, Tuple, Union

import torch
import torch.nn.functional as F
from mmdet.structures import OptSampleList, SampleList
from mmengine.model import BaseModel, ModuleDict
from PIL import Image
from torch import Tensor

from harmoclip_mm.pixels import rgb_of
from harmoclip_mm.registry import MODELS

from ..checkpoints import init_from_checkpoint, pretrained_cfg
from ..layers import LogitScale
from ..losses.row_record import recorded_rows
from ..predictors import VisualFeatures
from ..towers import CLIPName, VisionFeatures
from ..utils import (
    CLIPFeatures,
    RegionBatch,
    collate_regions,
    collate_weights,
)
from .frozen_teacher import FrozenTeacher, fit_teacher
from .micro_batches import extract_in_micro_batches
from .source_log import log_sources
from .text_features import caption_ids_of, text_features

# Fields of CLIPFeatures by what they are made of.
CROP_FEATURES = ('online_crops', 'crops', 'teacher_crops')
# Fields of VisualFeatures by where their boxes are in a sample.
REGION_SOURCES = {
    'gt_regions': 'gt_instances',
    'proposal_regions': 'proposals',
}


@MODELS.register_module()
class HarmoCLIP(BaseModel):
    """A region-level CLIP.

    The class only wires: it computes the features that its heads ask for,
    each once, and hands them over. CLIP, RegionCLIP, CLIPSelf, FineCLIP and
    HarmoCLIP differ in their ``heads``, and in what is ``frozen``. A head
    that asks for features of the start gets a :class:`FrozenTeacher`. A test
    is what its ``predictors`` answer.

    Args:
        clip (str | Mapping, optional): The CLIP, see :func:`clip_spec`. It
            is handed to ``backbone``, ``text_encoder`` and
            ``data_preprocessor`` as far as these name no ``type``, and are
            the default ones.
        backbone (dict, optional): Config of the vision tower. Defaults to
            the ``HarmoCLIPBackbone`` of ``clip``.
        text_encoder (dict, optional): Config of the text tower. Defaults to
            the ``CLIPTextEncoder`` of ``clip``.
        region_extractor (dict, optional): Config of what turns boxes into
            features. Defaults to ``RoIFeatureExtractor``.
        crop_extractor (dict, optional): Config of what encodes the crops
            that ``RegionAlignmentHead`` may ask for. Defaults to none.
        heads (Dict[str, dict], optional): Configs of the heads by name.
            Temperatures of their own start where the CLIP's did before its
            training, and a ``loss`` without ``type`` is of the kind that the
            CLIP was trained with: ``SigmoidContrastiveLoss`` for one with a
            bias, else ``ContrastiveLoss``. Defaults to none, for evaluation.
        predictors (Dict[str, dict], optional): Configs of the predictors by
            name: what a test asks of the towers; one that is None is left
            out. Defaults to none.
        micro_batch_size (int, optional): Train with the activations of so
            many images at once, computed a second time in the backward; the
            losses and gradients are those of the whole batch. Defaults to
            all images, each computed once.
        frozen (Sequence[str]): Regular expressions of the parameters that
            are not trained, matched from the start of their names, e.g.
            ``['text_encoder']``. Defaults to none.
        data_preprocessor (dict, optional): Config of the preprocessor, as
            of mmdet's detectors. Defaults to a
            ``RegionTextDataPreprocessor`` with mean and deviation of the
            CLIP.
        init_cfg (dict, optional): Initialisation config. Type ``Pretrained``
            reads CLIP checkpoints of every format, see
            :func:`init_from_checkpoint`.

    Raises:
        ValueError: If a head needs crops and there is no
            ``crop_extractor``, the towers' joint spaces differ in width,
            ``micro_batch_size`` is below 1, or nothing matches one of
            ``frozen``.
    """

    def __init__(
        self,
        clip: Optional[CLIPName] = None,
        backbone: Optional[Dict] = None,
        text_encoder: Optional[Dict] = None,
        region_extractor: Optional[Dict] = None,
        crop_extractor: Optional[Dict] = None,
        heads: Optional[Dict[str, Dict]] = None,
        predictors: Optional[Dict[str, Dict]] = None,
        micro_batch_size: Optional[int] = None,
        frozen: Sequence[str] = (),
        data_preprocessor: Optional[Dict] = None,
        init_cfg: Optional[Dict] = None,
    ) -> None:

        def of_clip(cfg: Optional[Dict], kind: str) -> Dict:
            cfg = cfg or {}
            if 'type' in cfg:
                return cfg
            return dict(type=f'harmoclip_mm.{kind}', **{'clip': clip, **cfg})

        super().__init__(
            of_clip(data_preprocessor, 'RegionTextDataPreprocessor'), init_cfg
        )
        if micro_batch_size is not None and micro_batch_size < 1:
            raise ValueError(
                f'micro_batch_size must be at least 1, not {micro_batch_size}.'
            )
        self.micro_batch_size = micro_batch_size
        self.backbone = MODELS.build(of_clip(backbone, 'HarmoCLIPBackbone'))
        self.text_encoder = MODELS.build(
            of_clip(text_encoder, 'CLIPTextEncoder')
        )
        if self.backbone.out_dims != self.text_encoder.out_dims:
            raise ValueError(
                'The towers must share one joint space, but out_dims is '
                f'{self.backbone.out_dims} in the backbone and '
                f'{self.text_encoder.out_dims} in the text_encoder.'
            )
        spec = self.spec = self.backbone.spec
        self.logit_scale = LogitScale(spec.init_scale, spec.init_bias)
        self._ask(predictors, region_extractor)
        self.crop_extractor = crop_extractor and MODELS.build(crop_extractor)
        by_clip = dict(
            init_scale=spec.init_scale,
            init_bias=spec.init_bias,
            default_loss='harmoclip_mm.ContrastiveLoss'
            if spec.init_bias is None
            else 'harmoclip_mm.SigmoidContrastiveLoss',
        )
        self.heads = ModuleDict(
            {
                name: MODELS.build(head, default_args=by_clip)
                for name, head in (heads or {}).items()
            }
        )
        self._needs = set().union(*(h.requires for h in self.heads.values()))
        needs_crops = self._needs.intersection(CROP_FEATURES)
        if needs_crops and self.crop_extractor is None:
            raise ValueError(
                'A head asks for crops: give the model a crop_extractor, e.g. '
                "crop_extractor=dict(type='CropFeatureExtractor')."
            )
        self.teacher = None
        if 'teacher_crops' in self._needs:
            self.teacher = FrozenTeacher(self.backbone)
        self._register_load_state_dict_pre_hook(fit_teacher, with_module=True)
        for pattern in frozen:
            self._freeze(pattern)

    def _freeze(self, pattern: str) -> None:
        """Stops gradients of the parameters of a name."""
        weights = dict(self.named_parameters())
        found = [name for name in weights if re.match(pattern, name)]
        if not found:
            raise ValueError(
                f'frozen={pattern!r} matches no parameter of the model; '
                f'names are like {next(iter(weights))!r}.'
            )
        for name in found:
            weights[name].requires_grad_(False)

    def init_weights(self) -> None:
        """Draws the weights, and loads those that ``init_cfg`` names."""
        init_cfg = self.init_cfg
        if pretrained_cfg(self) is not None:
            self.init_cfg = None  # mmengine would read our own names only
        super().init_weights()
        self.init_cfg = init_cfg
        init_from_checkpoint(self)

    def get_layer_depth(self, param_name: str) -> Tuple[int, int]:
        """Depth of a parameter, for mmpretrain's layer-wise decay of the
        learning rate.

        Args:
            param_name (str): Name of the parameter.

        Returns:
            Tuple[int, int]: Its depth in its tower, and how many depths the
            tower has; temperatures and heads count as the last.
        """
        for name in ('backbone', 'text_encoder'):
            if param_name.startswith(f'{name}.'):
                tower = getattr(self, name)
                return tower.get_layer_depth(param_name, f'{name}.')
        return 0, 1

    def forward(
        self,
        inputs: Tensor,
        data_samples: OptSampleList = None,
        mode: str = 'tensor',
    ) -> Union[Dict[str, Tensor], SampleList, Tensor]:
        """Trains, predicts or encodes.

        Args:
            inputs (Tensor): Normalised images, shape (B, 3, H, W).
            data_samples (SampleList, optional): Their samples, as packed by
                ``PackRegionTextInputs``. Not needed in mode ``'tensor'``.
            mode (str): One of

                - ``'loss'``: returns a dict of scalar losses;
                - ``'predict'``: returns the samples with predictions;
                - ``'tensor'``: returns image embeddings (B, D).

        Raises:
            RuntimeError: If ``mode`` is unknown.
        """
        if mode == 'loss':
            return self.loss(inputs, data_samples)
        if mode == 'predict':
            return self.predict(inputs, data_samples)
        if mode == 'tensor':
            return self.encode_image(inputs)
        raise RuntimeError(
            f'Invalid mode {mode!r}; choose loss, predict or tensor.'
        )

    def loss(
        self, inputs: Tensor, data_samples: SampleList
    ) -> Dict[str, Tensor]:
        """Computes the losses of all heads.

        Args:
            inputs (Tensor): Normalised images, shape (B, 3, H, W).
            data_samples (SampleList): Samples with ``gt_instances``
                (``bboxes`` xyxy in pixels of ``inputs``, ``labels`` into the
                P phrases, ``scores`` in [0, 1] where links are less than
                certain), ``caption_ids`` (C, L) of which the first row is
                used (C = 0 for an image without a caption), and the
                ``phrase_*`` of ``TokenizeRegionText``.

        Returns:
            Dict[str, Tensor]: Scalar losses, equal on all ranks.

        Raises:
            DataError: If a sample lacks texts that a head needs.
        """
        if self.teacher is not None:
            self.teacher.set_once(self.backbone)
        features = extract_in_micro_batches(
            self.extract_features,
            inputs,
            data_samples,
            self._needs,
            self.micro_batch_size or len(inputs),
        )
        losses, rows = {}, {}
        for name, head in self.heads.items():
            with recorded_rows() as rows[name]:
                losses.update(head.loss(features))
        log_sources(data_samples, self.heads, rows)
        return losses

    def extract_features(
        self, inputs: Tensor, data_samples: SampleList, needs: Set[str]
    ) -> CLIPFeatures:
        """Computes the features that heads ask for, each once.

        Args:
            inputs (Tensor): Normalised images, shape (B, 3, H, W).
            data_samples (SampleList): Their samples, see :meth:`loss`.
            needs (Set[str]): Fields of ``CLIPFeatures`` wanted.

        Returns:
            CLIPFeatures: The features; fields not wanted are None.
        """
        scale, bias = self.logit_scale()
        found = dict(scale=scale, bias=bias)
        # Texts first: values read from the device wait for what it was asked
        # to do before.
        found.update(text_features(self.text_encoder, data_samples, needs))
        regions = None
        if needs.intersection(('regions', *CROP_FEATURES)):
            regions = collate_regions(
                data_samples, self.region_extractor.needs_masks
            )
        if 'weights' in needs:
            found['weights'] = collate_weights(data_samples)
        vision = self.backbone.encode(
            inputs,
            with_pooled='image' in needs,
            with_dense='regions' in needs
            and self.region_extractor.needs_dense,
        )
        tower = self.backbone
        if 'regions' in needs:
            found['regions'] = self.region_extractor(
                vision.dense, regions, inputs, tower
            )
        for name in CROP_FEATURES:
            if name in needs:
                learns = name == 'online_crops' and torch.is_grad_enabled()
                if name == 'teacher_crops':
                    encoder = self.teacher.backbone
                else:
                    encoder = tower
                with torch.set_grad_enabled(learns):
                    found[name] = self.crop_extractor(
                        None, regions, inputs, encoder
                    )
        if 'image' in needs:
            # An image without a caption has no partner in GC.
            rows = zip(vision.pooled.split(1), data_samples)
            paired = [row[: len(caption_ids_of(each))] for row, each in rows]
            found['image'] = F.normalize(torch.cat(paired), dim=-1)
        return CLIPFeatures(**found)

    def predict(self, inputs: Tensor, data_samples: SampleList) -> SampleList:
        """Lets every predictor add its predictions to the samples.

        Args:
            inputs (Tensor): Normalised images, shape (B, 3, H, W).
            data_samples (SampleList): Their samples; boxes are xyxy in
                pixels of ``inputs``. What else they hold is up to the
                predictors.

        Returns:
            SampleList: The same samples with predictions, boxes in pixels
            of the original image; the ground truth is as it was.
        """
        vision = self.backbone.encode(inputs, **self.asked_of_backbone)
        return self.answer(vision, inputs, data_samples)

    @property
    def asked_of_backbone(self) -> Dict[str, bool]:
        """What the predictors need of the vision tower, as arguments of
        ``backbone.encode``."""
        needs = self._asked()
        return dict(
            with_pooled='image' in needs,
            with_dense=bool(needs & set(REGION_SOURCES))
            and self.region_extractor.needs_dense,
        )

    def _asked(self) -> Set[str]:
        return set().union(*(p.requires for p in self.predictors.values()))

    def answer(
        self,
        vision: VisionFeatures,
        inputs: Tensor,
        data_samples: SampleList,
    ) -> SampleList:
        """Lets every predictor answer from an encoding that is there.

        Args:
            vision (VisionFeatures): At least what :attr:`asked_of_backbone`
                names, of the images of the samples.
            inputs (Tensor): These images, shape (B, 3, H, W).
            data_samples (SampleList): The samples, see :meth:`predict`.
        """
        needs, found = self._asked(), {}
        extractor = self.region_extractor
        if 'image' in needs:
            found['image'] = F.normalize(vision.pooled.float(), dim=-1)
        for key, kind in REGION_SOURCES.items():
            if key in needs:
                regions = collate_regions(
                    data_samples, extractor.needs_masks, kind
                )
                rows = extractor(vision.dense, regions, inputs, self.backbone)
                found[key] = regions.split(rows)
        for predictor in self.predictors.values():
            predictor.predict(
                VisualFeatures(**found),
                data_samples,
                self.text_encoder,
                self.logit_scale,
            )
        return data_samples

    def sharing_towers(
        self,
        predictors: Dict[str, Dict],
        region_extractor: Optional[Dict] = None,
    ) -> 'HarmoCLIP':
        """Asks something else of the same towers.

        Args:
            predictors (Dict[str, dict]): As of the constructor.
            region_extractor (dict, optional): As of the constructor.

        Returns:
            HarmoCLIP: A model whose weights are those of this one, not
            copies of them.
        """
        other = copy.copy(self)
        other._modules = dict(self._modules)
        other._ask(predictors, region_extractor)
        return other.train(self.training)

    def _ask(
        self,
        predictors: Optional[Dict[str, Dict]],
        region_extractor: Optional[Dict],
    ) -> None:
        self.region_extractor = MODELS.build(
            region_extractor or dict(type='harmoclip_mm.RoIFeatureExtractor')
        )
        self.predictors = ModuleDict(
            {
                name: MODELS.build(predictor)
                for name, predictor in (predictors or {}).items()
                if predictor is not None
            }
        )

    def preprocess(self, image: Union[str, Image.Image]) -> Tensor:
        """Prepares an image as the CLIP was trained with.

        Args:
            image (str | Image): Path or image.

        Returns:
            Tensor: Resized and normalised, shape (3, H, W), on the CPU.

        Raises:
            DataError: If its pixels are not those of 8 bits.
        """
        if isinstance(image, Image.Image):
            image = rgb_of(image)
        else:
            with Image.open(image) as opened:
                image = rgb_of(opened)
        return self.spec.image_transform(self.backbone.img_size)(image)

    def encode_image(self, img: Tensor) -> Tensor:
        """Embeds images.

        Args:
            img (Tensor): Images normalised by the CLIP's mean and standard
                deviation, shape (B, 3, H, W).

        Returns:
            Tensor: L2-normalised embeddings, shape (B, D).
        """
        pooled = self.backbone.encode(img, with_dense=False).pooled
        return F.normalize(pooled, dim=-1)

    def encode_text(self, texts: Union[str, Sequence[str]]) -> Tensor:
        """Embeds texts.

        Args:
            texts (str | Sequence[str]): N texts; a string is one.

        Returns:
            Tensor: L2-normalised embeddings, shape (N, D).
        """
        texts = [texts] if isinstance(texts, str) else list(texts)
        ids = self.text_encoder.tokenizer.ids(texts)
        ids = ids.to(next(self.text_encoder.parameters()).device)
        return F.normalize(
            self.text_encoder(ids, with_tokens=False).pooled, dim=-1
        )

    def encode_dense(self, img: Tensor) -> Tensor:
        """Embeds every patch of images.

        Args:
            img (Tensor): Normalised images, shape (B, 3, H, W).

        Returns:
            Tensor: Map, L2-normalised at each location, shape (B, D, h, w).
        """
        dense = self.backbone.encode(img, with_pooled=False).dense
        return F.normalize(dense, dim=1)

    def encode_regions(
        self,
        img: Tensor,
        bboxes: Sequence[Tensor],
        masks: Optional[Sequence[Tensor]] = None,
    ) -> List[Tensor]:
        """Embeds boxes, or masks, of images.

        Args:
            img (Tensor): Normalised images, shape (B, 3, H, W).
            bboxes (Sequence[Tensor]): Boxes of each image, xyxy in pixels
                of ``img``, shapes (N_i, 4); arrays and lists are taken too.
            masks (Sequence[Tensor], optional): Their masks, bool or uint8 of
                0 and 1, shapes (N_i, H, W). Only a ``MaskFeatureExtractor``
                uses them. Defaults to none.

        Returns:
            List[Tensor]: L2-normalised embeddings, shapes (N_i, D).

        Raises:
            ValueError: If there are not as many lists of boxes as images,
                boxes are not of four numbers, or one has no part of its
                image.
        """
        if len(bboxes) != len(img):
            raise ValueError(
                f'Boxes of {len(bboxes)} images for {len(img)} images: give '
                'a tensor (N, 4) for each.'
            )
        bboxes = [torch.as_tensor(each, device=img.device) for each in bboxes]
        regions = RegionBatch.from_boxes(bboxes, masks, img.shape[-2:])
        extractor, dense = self.region_extractor, None
        if extractor.needs_dense:
            dense = self.backbone.encode(img, with_pooled=False).dense
        rows = extractor(dense, regions, img, self.backbone)
        # averaged in float32; as images and texts are of a model in half
        return list(regions.split(rows.to(self.backbone.dtype)))
