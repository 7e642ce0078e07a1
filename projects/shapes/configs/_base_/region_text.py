# Shapes, drawn by make_data.py into SHAPES_ROOT: 80 categories = 8 colours x
# 10 shapes, 12 of them (novel) not in training. `clip` is filled in
# from the config's own line, by the tools' load_config; images that already
# have its size are not resized.
data_root = '{{$SHAPES_ROOT:data/shapes/}}'

train_pipeline = [
    dict(type='LoadCheckedImage'),
    dict(type='mmdet.LoadAnnotations', with_bbox=True),
    dict(type='CLIPResize', clip=None),
    dict(type='TokenizeRegionText', clip=None),
    dict(type='PackRegionTextInputs'),
]
val_pipeline, test_pipeline = (
    [
        *train_pipeline[:2],
        dict(
            type='LoadCaptions',
            ann_file=f'{data_root}/annotations/captions_{split}.json',
        ),
        *train_pipeline[2:],
    ]
    for split in ('val', 'test')
)

train_dataloader = dict(
    batch_size=64,
    # To load an image takes 1.0 ms of CPU, to send it from a worker 0.2 ms
    # more (docs/performance.md); on two cores nobody is idle to take it over.
    num_workers=0,
    collate_fn=dict(type='harmoclip_mm.packed_collate'),
    sampler=dict(type='ResumableSampler', shuffle=True),  # runtime_exact.py
    drop_last=True,
    dataset=dict(
        type='RegionPhraseDataset',
        data_root=data_root,
        ann_file='annotations/train_odvg.jsonl',
        data_prefix=dict(img='train/'),
        pipeline=train_pipeline,
    ),
)
classes = {
    name: f'{data_root}/annotations/{name}.txt'
    for name in ('classes', 'base_classes', 'novel_classes')
}
val_dataloader, test_dataloader = (
    dict(
        batch_size=100,
        num_workers=0,
        collate_fn=dict(type='harmoclip_mm.packed_collate'),
        sampler=dict(type='DefaultSampler', shuffle=False),
        dataset=dict(
            type='mmdet.CocoDataset',
            return_classes=True,
            data_root=data_root,
            ann_file=f'annotations/instances_{split}.json',
            data_prefix=dict(img=f'{split}/'),
            metainfo=classes,
            test_mode=True,
            pipeline=pipeline,
        ),
    )
    for split, pipeline in (('val', val_pipeline), ('test', test_pipeline))
)

val_evaluator = [
    dict(type='BoxClassificationMetric'),
    dict(type='ImageTextRetrievalMetric'),
]
test_evaluator = [
    *val_evaluator,
    dict(
        type='mmdet.CocoMetric',
        ann_file=data_root + '/annotations/instances_test.json',
        metric='bbox',
    ),
]
