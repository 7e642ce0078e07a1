_base_ = './coco_ov.py'
# OV-COCO detection: base boxes to train on, base and novel ones in the test.
# Annotations: tools/dataset_converters/ov_splits.py coco. Images as in F-ViT
# (CLIPSelf, arXiv 2310.01403, its configs): scaled by 0.1 to 2, cut to 640 px.
image_size = (640, 640)  # (width, height) in px

train_pipeline = [
    dict(type='LoadImageFromFile'),
    dict(type='LoadAnnotations', with_bbox=True),
    dict(
        type='RandomResize',
        scale=image_size,
        ratio_range=(0.1, 2.0),
        resize_type='Resize',
        keep_ratio=True,
    ),
    dict(
        type='RandomCrop',
        crop_type='absolute_range',
        crop_size=image_size[::-1],
        recompute_bbox=True,
        allow_negative_crop=True,
    ),
    dict(type='FilterAnnotations', min_gt_bbox_wh=(1e-2, 1e-2)),
    dict(type='RandomFlip', prob=0.5),
    dict(
        type='PackDetInputs',
        meta_keys=('img_id', 'img_path', 'ori_shape', 'img_shape',
                   'scale_factor', 'flip', 'flip_direction', 'text'),
    ),
]  # fmt: skip
test_pipeline = [
    dict(type='LoadImageFromFile'),
    dict(type='Resize', scale=image_size, keep_ratio=True),
    dict(type='LoadAnnotations', with_bbox=True),
    dict(
        type='PackDetInputs',
        meta_keys=('img_id', 'img_path', 'ori_shape', 'img_shape',
                   'scale_factor', 'text'),
    ),
]  # fmt: skip

train_dataloader = dict(
    batch_size=8,
    num_workers=8,
    persistent_workers=True,
    sampler=dict(type='DefaultSampler', shuffle=True),
    batch_sampler=dict(type='AspectRatioBatchSampler'),
    dataset=dict(
        type='mmdet.CocoDataset',
        return_classes=True,
        metainfo=dict(classes=_base_.base_classes),
        data_root=_base_.data_root,
        ann_file='annotations/instances_train2017_seen_2.json',
        data_prefix=dict(img='train2017/'),
        filter_cfg=dict(filter_empty_gt=True),
        pipeline=train_pipeline,
    ),
)
val_dataloader = dict(
    batch_size=1,
    num_workers=4,
    persistent_workers=True,
    sampler=dict(type='DefaultSampler', shuffle=False),
    dataset=dict(
        _base_.test_dataloader.dataset,
        ann_file='annotations/instances_val2017_all_2.json',
        pipeline=test_pipeline,
    ),
)
test_dataloader = dict(_delete_=True, **val_dataloader)
val_evaluator = [
    dict(
        type='mmdet.OVCocoMetric',
        prefix='ov_coco',
        ann_file=_base_.data_root
        + '/annotations/instances_val2017_all_2.json',
        metric='bbox',
    )
]
test_evaluator = val_evaluator
val_cfg = dict(type='ValLoop')
test_cfg = dict(type='TestLoop')
