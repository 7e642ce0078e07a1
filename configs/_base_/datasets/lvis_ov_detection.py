_base_ = './coco_ov_detection.py'
# OV-LVIS detection: the 866 frequent and common classes to train on, all 1203
# in the test, where the 337 rare ones are novel: lvis/segm_APr. Training
# annotations: tools/dataset_converters/ov_splits.py lvis. LVIS_ROOT holds
# annotations/, the images are COCO's. The package lvis is needed.
image_size = (1024, 1024)  # (width, height) in px
annotations = '{{$LVIS_ROOT:data/lvis_v1/}}/annotations/'

train_pipeline = [
    _base_.train_pipeline[0],
    dict(type='LoadAnnotations', with_bbox=True, with_mask=True),
    dict(_base_.train_pipeline[2], scale=image_size),
    dict(_base_.train_pipeline[3], crop_size=image_size[::-1]),
    *_base_.train_pipeline[4:],
]
test_pipeline = [
    _base_.test_pipeline[0],
    dict(_base_.test_pipeline[1], scale=image_size),
    *_base_.test_pipeline[2:],
]
train_dataloader = dict(
    dataset=dict(
        _delete_=True,
        type='mmdet.LVISV1Dataset',
        return_classes=True,
        metainfo=dict(classes=annotations + 'lvis_v1_base_classes.txt'),
        ann_file=annotations + 'lvis_v1_train_base.json',
        data_prefix=dict(img=_base_.data_root),
        filter_cfg=dict(filter_empty_gt=True),
        pipeline=train_pipeline,
    ),
)
val_dataloader = dict(
    dataset=dict(
        _delete_=True,
        type='mmdet.LVISV1Dataset',
        return_classes=True,
        ann_file=annotations + 'lvis_v1_val.json',
        data_prefix=dict(img=_base_.data_root),
        test_mode=True,
        pipeline=test_pipeline,
    ),
)
test_dataloader = val_dataloader
val_evaluator = [
    dict(
        type='harmoclip_mm.LVISAPMetric',
        prefix='lvis',
        ann_file=annotations + 'lvis_v1_val.json',
        metric=['bbox', 'segm'],
    )
]
test_evaluator = val_evaluator
