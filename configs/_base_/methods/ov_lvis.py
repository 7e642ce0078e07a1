# What changes for OV-LVIS: a class-agnostic mask head and many boxes of low
# score, as in F-ViT's configs. The federated loss (CenterNet2, arXiv
# 2103.07461) is our choice, where F-ViT weighs the classes: an image of LVIS
# is not searched for all of them. A config sets `model = _base_.lvis_model`;
# one of other strides or image sizes replaces parts of it.
lvis_roi_head = dict(
    alpha=0.1,
    beta=0.6,
    region_scale=50.0,
    bbox_head=dict(
        loss_cls=dict(
            _delete_=True,
            type='harmoclip_mm.FederatedCrossEntropyLoss',
            frequencies='{{$LVIS_ROOT:data/lvis_v1/}}/annotations/'
            'lvis_v1_base_categories.json',
        ),
    ),
    mask_roi_extractor=dict(
        type='SingleRoIExtractor',
        roi_layer=dict(type='RoIAlign', output_size=14, sampling_ratio=0),
        out_channels=256,
        featmap_strides=[4, 8, 16, 32],
    ),
    mask_head=dict(
        type='FCNMaskHead',
        num_convs=4,
        in_channels=256,
        conv_out_channels=256,
        num_classes=1,
        class_agnostic=True,
        norm_cfg=dict(type='SyncBN', requires_grad=True),
        loss_mask=dict(
            type='CrossEntropyLoss', use_mask=True, loss_weight=1.0
        ),
    ),
)
lvis_model = dict(
    # the square that the largest image of 1024 px fills
    data_preprocessor=dict(pad_size_divisor=1024, pad_mask=True),
    roi_head=lvis_roi_head,
    train_cfg=dict(
        rcnn=dict(assigner=dict(match_low_quality=True), mask_size=28)
    ),
    test_cfg=dict(
        rcnn=dict(
            score_thr=0.0001,
            nms=dict(iou_threshold=0.5),
            max_per_img=300,
            mask_thr_binary=0.5,
        )
    ),
)
