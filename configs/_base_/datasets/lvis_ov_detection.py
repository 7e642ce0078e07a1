# OV-LVIS detection: the 866 frequent and common classes to train on, all 1203
# in the test, where the 337 rare ones are novel: lvis/segm_APr. Training
# annotations: tools/dataset_converters/ov_splits.py lvis. LVIS_ROOT holds
# annotations/, the images are COCO's. The package lvis is needed.
# Images as in F-ViT (CLIPSelf, arXiv 2310.01403, its configs).
image_size = (1024, 1024)  # (width, height) in px
annotations = '{{$LVIS_ROOT:data/lvis_v1/}}/annotations/'
images = '{{$COCO_ROOT:data/coco/}}'

train_pipeline = [
    dict(type='LoadImageFromFile'),
    dict(type='LoadAnnotations', with_bbox=True, with_mask=True),
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
    dict(type='PackDetInputs'),
]
test_pipeline = [
    dict(type='LoadImageFromFile'),
    dict(type='Resize', scale=image_size, keep_ratio=True),
    dict(type='LoadAnnotations', with_bbox=True),
    dict(
        type='PackDetInputs',
        meta_keys=('img_id', 'img_path', 'ori_shape', 'img_shape',
                   'scale_factor'),
    ),
]  # fmt: skip

train_dataloader = dict(
    batch_size=8,
    num_workers=8,
    persistent_workers=True,
    sampler=dict(type='DefaultSampler', shuffle=True),
    batch_sampler=dict(type='AspectRatioBatchSampler'),
    dataset=dict(
        type='harmoclip_mm.LVISV1Dataset',
        metainfo=dict(classes=annotations + 'lvis_v1_base_classes.txt'),
        ann_file=annotations + 'lvis_v1_train_base.json',
        data_prefix=dict(img=images),
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
        type='harmoclip_mm.LVISV1Dataset',
        ann_file=annotations + 'lvis_v1_val.json',
        data_prefix=dict(img=images),
        test_mode=True,
        pipeline=test_pipeline,
    ),
)
test_dataloader = val_dataloader
val_evaluator = [
    dict(
        type='harmoclip_mm.LVISMetric',
        prefix='lvis',
        ann_file=annotations + 'lvis_v1_val.json',
        metric=['bbox', 'segm'],
    )
]
test_evaluator = val_evaluator
val_cfg = dict(type='ValLoop')
test_cfg = dict(type='TestLoop')
