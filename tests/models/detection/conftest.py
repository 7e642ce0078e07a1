"""A tiny open-vocabulary detector, its CLIP and a batch."""

import copy

import pytest
import torch
from mmdet.structures import DetDataSample
from mmdet.structures.mask import BitmapMasks
from mmengine.config import ConfigDict
from mmengine.registry import init_default_scope
from mmengine.structures import InstanceData
from tiny_clips import VIT

from harmoclip_mm.registry import MODELS

BACKBONE = dict(
    type='harmoclip_mm.HarmoCLIPBackbone', clip=VIT, out_indices=(2,)
)
TEXT_ENCODER = dict(type='harmoclip_mm.CLIPTextEncoder', clip=VIT)
ROI_EXTRACTOR = dict(
    type='SingleRoIExtractor',
    roi_layer=dict(type='RoIAlign', output_size=4, sampling_ratio=0),
    out_channels=16,
    featmap_strides=[8, 16],
)
BASE, CLASSES = ('dog', 'red_car'), ('dog', 'cat', 'red_car')
CFG = dict(
    type='harmoclip_mm.OpenVocabularyDetector',
    data_preprocessor=dict(type='DetDataPreprocessor'),
    backbone=BACKBONE,
    text_encoder=TEXT_ENCODER,
    neck=dict(type='FPN', in_channels=[48], out_channels=16, num_outs=2),
    rpn_head=dict(
        type='RPNHead',
        in_channels=16,
        feat_channels=16,
        anchor_generator=dict(
            type='AnchorGenerator',
            scales=[2],
            ratios=[0.5, 1.0, 2.0],
            strides=[8, 16],
        ),
        loss_bbox=dict(type='L1Loss'),
    ),
    roi_head=dict(
        type='harmoclip_mm.OpenVocabularyRoIHead',
        bbox_roi_extractor=ROI_EXTRACTOR,
        bbox_head=dict(
            type='harmoclip_mm.TextEmbeddingBBoxHead',
            num_shared_fcs=1,
            in_channels=16,
            fc_out_channels=32,
            roi_feat_size=4,
            templates='simple',
            loss_bbox=dict(type='L1Loss'),
        ),
    ),
    train_cfg=dict(
        rpn=dict(
            assigner=dict(
                type='MaxIoUAssigner',
                pos_iou_thr=0.5,
                neg_iou_thr=0.3,
                min_pos_iou=0.3,
            ),
            sampler=dict(
                type='RandomSampler',
                num=32,
                pos_fraction=0.5,
                add_gt_as_proposals=False,
            ),
            allowed_border=-1,
            pos_weight=-1,
            debug=False,
        ),
        rpn_proposal=dict(
            nms_pre=50,
            max_per_img=20,
            nms=dict(type='nms', iou_threshold=0.7),
            min_bbox_size=0,
        ),
        rcnn=dict(
            assigner=dict(
                type='MaxIoUAssigner',
                pos_iou_thr=0.5,
                neg_iou_thr=0.5,
                min_pos_iou=0.5,
            ),
            sampler=dict(type='RandomSampler', num=16, pos_fraction=0.5),
            mask_size=8,
            pos_weight=-1,
            debug=False,
        ),
    ),
    test_cfg=dict(
        rpn=dict(
            nms_pre=50,
            max_per_img=20,
            nms=dict(type='nms', iou_threshold=0.7),
            min_bbox_size=0,
        ),
        rcnn=dict(
            score_thr=0.0,
            nms=dict(type='nms', iou_threshold=0.5),
            max_per_img=10,
            mask_thr_binary=0.5,
        ),
    ),
)
MASK = dict(
    mask_roi_extractor=ROI_EXTRACTOR,
    mask_head=dict(
        type='FCNMaskHead',
        num_convs=1,
        in_channels=16,
        conv_out_channels=16,
        class_agnostic=True,
    ),
)


@pytest.fixture(autouse=True)
def _mmdet_scope(_scope):
    """Detection configs are mmdet's, with our names prefixed."""
    init_default_scope('mmdet')


@pytest.fixture
def cfg():
    """Config of the detector, to be changed at will."""
    return ConfigDict(copy.deepcopy(CFG))


@pytest.fixture
def clip():
    """The CLIP whose towers the detector has."""
    model = MODELS.build(
        dict(
            type='harmoclip_mm.HarmoCLIP',
            backbone=BACKBONE,
            text_encoder=TEXT_ENCODER,
            region_extractor=dict(type='harmoclip_mm.RoIFeatureExtractor'),
        )
    )
    model.init_weights()
    return model.eval()


@pytest.fixture
def clip_file(clip, tmp_path):
    """A checkpoint as a training writes it."""
    path = tmp_path / 'clip.pth'
    torch.save(dict(meta={}, state_dict=clip.state_dict()), path)
    return str(path)


@pytest.fixture
def build(clip):
    """Builds a detector around the towers of ``clip``."""

    def build_detector(cfg, load=True):
        model = MODELS.build(cfg)
        model.init_weights()
        if load:
            model.backbone.load_state_dict(clip.backbone.state_dict())
            if model.text_encoder is not None:
                model.text_encoder.load_state_dict(
                    clip.text_encoder.state_dict()
                )
        return model.eval()

    return build_detector


@pytest.fixture
def with_masks(cfg):
    """Config with a mask head."""
    cfg.roi_head.update(copy.deepcopy(MASK))
    return cfg


@pytest.fixture
def batch():
    """Two images of 48 x 40 px, half the size of the originals, with the
    base classes; the second without boxes."""
    generator = torch.Generator().manual_seed(3)
    img = 0.1 * torch.randn(2, 3, 40, 48, generator=generator)
    img[0, 0, 4:20, 4:20] += 3  # the boxes, red and blue
    img[0, 2, 8:36, 24:44] += 3
    samples = []
    for boxes, labels in (
        ([[4.0, 4.0, 20.0, 20.0], [24.0, 8.0, 44.0, 36.0]], [0, 1]),
        ([], []),
    ):
        sample = DetDataSample(
            metainfo=dict(
                img_shape=(40, 48),
                ori_shape=(80, 96),
                pad_shape=(40, 48),
                batch_input_shape=(40, 48),
                scale_factor=(0.5, 0.5),
                text=BASE,
            )
        )
        masks = torch.zeros(len(boxes), 40, 48, dtype=torch.uint8).numpy()
        for mask, box in zip(masks, boxes):
            left, top, right, bottom = map(int, box)
            mask[top:bottom, left:right] = 1
        sample.gt_instances = InstanceData(
            bboxes=torch.tensor(boxes).reshape(-1, 4),
            labels=torch.tensor(labels, dtype=torch.long),
            masks=BitmapMasks(masks, 40, 48),
        )
        samples.append(sample)
    return img, samples


@pytest.fixture
def test_batch(batch):
    """The same with all classes, as a test has it."""
    img, samples = copy.deepcopy(batch)
    for sample in samples:
        sample.set_metainfo(dict(text=CLASSES))
    return img, samples
