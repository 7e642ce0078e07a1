# Every annotation of instances_val2017, crowds too. A config appends to
# `load_regions` what brings the images to the size of its protocol.
data_root = '{{$COCO_ROOT:data/coco/}}'

load_regions = [
    dict(type='LoadCheckedImage'),
    dict(type='mmdet.LoadAnnotations', with_bbox=True),
    dict(type='FilterRegions', keep_crowd=True),
]
test_dataloader = dict(
    batch_size=32,
    num_workers=4,
    sampler=dict(type='DefaultSampler', shuffle=False),
    dataset=dict(
        type='mmdet.CocoDataset',
        return_classes=True,
        data_root=data_root,
        ann_file='annotations/instances_val2017.json',
        data_prefix=dict(img='val2017/'),
        test_mode=True,
    ),
)
test_evaluator = [
    dict(type='BoxClassificationMetric'),
    dict(
        type='mmdet.CocoMetric',
        ann_file=data_root + '/annotations/instances_val2017.json',
        metric='bbox',
    ),
]
