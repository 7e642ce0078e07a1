_base_ = './coco_ov_detection.py'
# Few photos in COCO's layout under COCO_ROOT, to be learnt by heart: the 62
# classes of the 54 photos of train2017 that the tests use, 5 of them held out.
image_size = (320, 320)  # (width, height) in px
# fmt: off
novel_classes = ('bus', 'cat', 'cup', 'keyboard', 'sink')
classes = (
    'person', 'bicycle', 'car', 'motorcycle', 'airplane', 'bus', 'truck',
    'boat', 'traffic light', 'fire hydrant', 'stop sign', 'bench', 'bird',
    'cat', 'dog', 'horse', 'elephant', 'bear', 'backpack', 'umbrella',
    'handbag', 'tie', 'suitcase', 'snowboard', 'sports ball', 'kite',
    'baseball glove', 'skateboard', 'tennis racket', 'bottle',
    'wine glass', 'cup', 'fork', 'knife', 'spoon', 'bowl', 'apple',
    'sandwich', 'broccoli', 'carrot', 'pizza', 'donut', 'cake', 'chair',
    'potted plant', 'dining table', 'toilet', 'tv', 'laptop', 'mouse',
    'remote', 'keyboard', 'cell phone', 'oven', 'toaster', 'sink',
    'refrigerator', 'book', 'clock', 'vase', 'scissors', 'teddy bear',
)
# fmt: on
base_classes = tuple(name for name in classes if name not in novel_classes)

train_pipeline = [
    *_base_.train_pipeline[:2],
    dict(type='Resize', scale=image_size, keep_ratio=True),
    _base_.train_pipeline[-1],
]
test_pipeline = [
    _base_.test_pipeline[0],
    dict(_base_.test_pipeline[1], scale=image_size),
    *_base_.test_pipeline[2:],
]
train_dataloader = dict(
    batch_size=8,
    num_workers=0,
    persistent_workers=False,
    sampler=dict(type='InfiniteSampler'),
    batch_sampler=None,
    dataset=dict(
        metainfo=dict(classes=base_classes),
        ann_file='annotations/instances_train2017.json',
        pipeline=train_pipeline,
    ),
)
val_dataloader = dict(
    batch_size=8,
    num_workers=0,
    persistent_workers=False,
    dataset=dict(
        metainfo=dict(
            classes=classes,
            base_classes=base_classes,
            novel_classes=novel_classes,
        ),
        ann_file='annotations/instances_train2017.json',
        data_prefix=dict(img='train2017/'),
        pipeline=test_pipeline,
    ),
)
test_dataloader = val_dataloader
val_evaluator = [
    dict(
        _base_.val_evaluator[0],
        ann_file=_base_.data_root + '/annotations/instances_train2017.json',
    )
]
test_evaluator = val_evaluator
