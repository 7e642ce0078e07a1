# OV-COCO: 48 base and 17 novel of COCO's 80 classes (OVR-CNN,
# arXiv 2011.10678); other boxes of val2017 are left out. The lists of the
# vocabulary coco80, in the order of COCO's categories.
data_root = '{{$COCO_ROOT:data/coco/}}'
# fmt: off
base_classes = (
    'person', 'bicycle', 'car', 'motorcycle', 'train', 'truck', 'boat',
    'bench', 'bird', 'horse', 'sheep', 'bear', 'zebra', 'giraffe',
    'backpack', 'handbag', 'suitcase', 'frisbee', 'skis', 'kite',
    'surfboard', 'bottle', 'fork', 'spoon', 'bowl', 'banana', 'apple',
    'sandwich', 'orange', 'broccoli', 'carrot', 'pizza', 'donut', 'chair',
    'bed', 'toilet', 'tv', 'laptop', 'mouse', 'remote', 'microwave',
    'oven', 'toaster', 'refrigerator', 'book', 'clock', 'vase',
    'toothbrush',
)
novel_classes = (
    'airplane', 'bus', 'cat', 'dog', 'cow', 'elephant', 'umbrella', 'tie',
    'snowboard', 'skateboard', 'cup', 'knife', 'cake', 'couch', 'keyboard',
    'sink', 'scissors',
)
classes = (
    'person', 'bicycle', 'car', 'motorcycle', 'airplane', 'bus', 'train',
    'truck', 'boat', 'bench', 'bird', 'cat', 'dog', 'horse', 'sheep',
    'cow', 'elephant', 'bear', 'zebra', 'giraffe', 'backpack', 'umbrella',
    'handbag', 'tie', 'suitcase', 'frisbee', 'skis', 'snowboard', 'kite',
    'skateboard', 'surfboard', 'bottle', 'cup', 'fork', 'knife', 'spoon',
    'bowl', 'banana', 'apple', 'sandwich', 'orange', 'broccoli', 'carrot',
    'pizza', 'donut', 'cake', 'chair', 'couch', 'bed', 'toilet', 'tv',
    'laptop', 'mouse', 'remote', 'keyboard', 'microwave', 'oven',
    'toaster', 'sink', 'refrigerator', 'book', 'clock', 'vase', 'scissors',
    'toothbrush',
)
# fmt: on
test_dataloader = dict(
    batch_size=32,
    num_workers=4,
    sampler=dict(type='DefaultSampler', shuffle=False),
    dataset=dict(
        type='mmdet.CocoDataset',
        return_classes=True,
        metainfo=dict(
            classes=classes,
            base_classes=base_classes,
            novel_classes=novel_classes,
        ),
        data_root=data_root,
        ann_file='annotations/instances_val2017.json',
        data_prefix=dict(img='val2017/'),
        test_mode=True,
    ),
)
test_evaluator = [
    dict(
        type='mmdet.OVCocoMetric',
        prefix='ov_coco',
        ann_file=data_root + '/annotations/instances_val2017.json',
        metric='bbox',
    )
]
