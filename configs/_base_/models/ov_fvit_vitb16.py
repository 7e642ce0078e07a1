_base_ = 'mmdet::_base_/models/faster-rcnn_r50_fpn.py'
# F-ViT (CLIPSelf, arXiv 2310.01403, section 4.3) on OpenAI's ViT-B/16, the
# CLIP frozen: blocks 3, 5, 7, 11 by 4, 2, 1, 1/2 are a pyramid of strides 4 to
# 64; RPN and box head are mmdet's, the classes text embeddings. Weights,
# scales and thresholds are those of F-ViT's configs. CLIP_CHECKPOINT names the
# weights, of any format of docs/checkpoints.md, for both towers.
clip = 'ViT-B-16-quickgelu'
conv_norm = dict(type='SyncBN', requires_grad=True)
model = dict(
    type='harmoclip_mm.OpenVocabularyDetector',
    data_preprocessor=dict(
        type='harmoclip_mm.RegionTextDataPreprocessor',
        clip=clip,
        # in place of ImageNet's, which mmdet's config has
        mean=None,
        std=None,
        # the square that the largest image fills, as in F-ViT
        pad_size_divisor=640,
    ),
    init_cfg=dict(
        type='Pretrained', checkpoint='{{$CLIP_CHECKPOINT:ViT-B-16.pt}}'
    ),
    backbone=dict(
        _delete_=True,
        type='harmoclip_mm.HarmoCLIPBackbone',
        clip=clip,
        out_indices=(3, 5, 7, 11),
    ),
    # encodes the class names of the data set, once; never trained
    text_encoder=dict(type='harmoclip_mm.CLIPTextEncoder', clip=clip),
    neck=dict(
        _delete_=True,
        type='harmoclip_mm.SimpleFeaturePyramid',
        in_channels=768,
        out_channels=256,
        num_outs=5,
        top_down=True,
        norm_cfg=conv_norm,
    ),
    rpn_head=dict(num_convs=2),
    roi_head=dict(
        type='harmoclip_mm.OpenVocabularyRoIHead',
        alpha=0.1,
        beta=0.8,
        region_scale=75.0,
        bbox_head=dict(
            _delete_=True,
            type='harmoclip_mm.TextEmbeddingBBoxHead',
            templates='vild63',
            scale=50.0,
            in_channels=256,
            roi_feat_size=7,
            num_shared_convs=4,
            num_shared_fcs=2,
            fc_out_channels=512,
            norm_cfg=conv_norm,
            bbox_coder=dict(
                type='DeltaXYWHBBoxCoder',
                target_means=[0.0, 0.0, 0.0, 0.0],
                target_stds=[0.1, 0.1, 0.2, 0.2],
            ),
            loss_cls=dict(type='CrossEntropyLoss', loss_weight=1.0),
            loss_bbox=dict(type='L1Loss', loss_weight=1.0),
        ),
    ),
    test_cfg=dict(
        rpn=dict(nms_pre=2000),
        rcnn=dict(
            score_thr=0.01,
            nms=dict(type='nms', iou_threshold=0.4),
            max_per_img=100,
        ),
    ),
)
