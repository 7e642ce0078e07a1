# Shapes as an open-vocabulary detection set, drawn by make_data.py into
# SHAPES_ROOT: 68 base combinations of colour and shape to train on, 12 novel
# ones in the test only.
data_root = '{{$SHAPES_ROOT:data/shapes/}}'
classes = {
    name: f'{data_root}/annotations/{name}.txt'
    for name in ('classes', 'base_classes', 'novel_classes')
}

# No mirroring: arrows and crescents all look the same way.
train_pipeline = [
    dict(type='LoadImageFromFile'),
    dict(type='LoadAnnotations', with_bbox=True),
    dict(
        type='PackDetInputs',
        meta_keys=('img_id', 'img_path', 'ori_shape', 'img_shape',
                   'scale_factor', 'flip', 'flip_direction', 'text'),
    ),
]  # fmt: skip
test_pipeline = [
    dict(type='LoadImageFromFile'),
    # does nothing to the data, and lets the demo take any picture
    dict(type='Resize', scale=(80, 80), keep_ratio=True),
    dict(type='LoadAnnotations', with_bbox=True),
    dict(
        type='PackDetInputs',
        meta_keys=('img_id', 'img_path', 'ori_shape', 'img_shape',
                   'scale_factor', 'text'),
    ),
]  # fmt: skip

train_dataloader = dict(
    batch_size=16,
    num_workers=0,
    sampler=dict(type='InfiniteSampler', shuffle=True),
    dataset=dict(
        type='mmdet.CocoDataset',
        return_classes=True,
        metainfo=dict(classes=classes['base_classes']),
        data_root=data_root,
        ann_file='annotations/instances_train.json',
        data_prefix=dict(img='train/'),
        filter_cfg=dict(filter_empty_gt=True),
        pipeline=train_pipeline,
    ),
)
val_dataloader = dict(
    batch_size=50,
    num_workers=0,
    sampler=dict(type='DefaultSampler', shuffle=False),
    dataset=dict(
        type='mmdet.CocoDataset',
        return_classes=True,
        metainfo=classes,
        data_root=data_root,
        ann_file='annotations/instances_test.json',
        data_prefix=dict(img='test/'),
        test_mode=True,
        pipeline=test_pipeline,
    ),
)
test_dataloader = val_dataloader
val_evaluator = [
    dict(
        type='mmdet.OVCocoMetric',
        prefix='ov_coco',
        ann_file=data_root + '/annotations/instances_test.json',
        metric='bbox',
    )
]
test_evaluator = val_evaluator
val_cfg = dict(type='ValLoop')
test_cfg = dict(type='TestLoop')
