# Every annotation of lvis_v1_val. LVIS_ROOT holds annotations/, and the
# images are COCO's: COCO_ROOT has train2017/ and val2017/. The package lvis is
# needed: pip install lvis
ann_file = '{{$LVIS_ROOT:data/lvis_v1/}}/annotations/lvis_v1_val.json'

load_regions = [
    dict(type='LoadCheckedImage'),
    dict(type='mmdet.LoadAnnotations', with_bbox=True),
]
test_dataloader = dict(
    batch_size=32,
    num_workers=4,
    sampler=dict(type='DefaultSampler', shuffle=False),
    dataset=dict(
        type='mmdet.LVISV1Dataset',
        return_classes=True,
        ann_file=ann_file,
        data_prefix=dict(img='{{$COCO_ROOT:data/coco/}}'),
        test_mode=True,
    ),
)
test_evaluator = [
    dict(type='BoxClassificationMetric'),
    dict(type='LVISAPMetric', ann_file=ann_file, metric='bbox'),
]
