# COCO 2017: captions with linked phrases to train on (to_odvg.py coco-captions
# makes the file), boxes and captions of val2017 in one pass to evaluate on.
# `clip` is filled in from the config's own line, by the tools' load_config.
data_root = '{{$COCO_ROOT:data/coco/}}'
# Relative to data_root; an absolute path lets the images be read-only.
phrases_file = '{{$COCO_PHRASES:annotations/phrases_train2017.jsonl}}'
max_regions = 20

train_pipeline = [
    # reduced=True decodes JPEGs at the smallest scale that suffices
    dict(type='LoadCheckedImage'),
    dict(type='mmdet.LoadAnnotations', with_bbox=True),
    dict(type='TextAwareRandomFlip', prob=0.5),
    dict(type='CLIPResize', clip=None),
    dict(type='SampleRegions', max_regions=max_regions, min_size=1),
    dict(type='TokenizeRegionText', clip=None),
    dict(type='PackRegionTextInputs'),
]
test_pipeline = [
    dict(type='LoadCheckedImage'),
    dict(type='mmdet.LoadAnnotations', with_bbox=True),
    dict(type='CLIPResize', clip=None),
    dict(
        type='LoadCaptions',
        ann_file=data_root + '/annotations/captions_val2017.json',
        max_captions=5,
    ),
    dict(type='TokenizeRegionText', clip=None),
    dict(type='PackRegionTextInputs'),
]

train_dataloader = dict(
    batch_size=32,
    num_workers=4,
    persistent_workers=True,
    collate_fn=dict(type='harmoclip_mm.packed_collate'),
    sampler=dict(type='DefaultSampler', shuffle=True),
    drop_last=True,
    dataset=dict(
        type='RegionPhraseDataset',
        data_root=data_root,
        ann_file=phrases_file,
        data_prefix=dict(img='train2017/'),
        pipeline=train_pipeline,
    ),
)
val_dataloader = dict(
    batch_size=32,
    num_workers=4,
    persistent_workers=True,
    collate_fn=dict(type='harmoclip_mm.packed_collate'),
    sampler=dict(type='DefaultSampler', shuffle=False),
    dataset=dict(
        type='mmdet.CocoDataset',
        return_classes=True,
        data_root=data_root,
        ann_file='annotations/instances_val2017.json',
        data_prefix=dict(img='val2017/'),
        test_mode=True,
        pipeline=test_pipeline,
    ),
)
test_dataloader = val_dataloader

val_evaluator = [
    dict(type='BoxClassificationMetric'),
    dict(type='ImageTextRetrievalMetric'),
    dict(
        type='mmdet.CocoMetric',
        ann_file=data_root + '/annotations/instances_val2017.json',
        metric='bbox',
    ),
]
test_evaluator = val_evaluator
