# HarmoCLIP on your own data, ViT-B/16 of OpenAI, one GPU: a template. Copy it
# beside this file and change the upper part; MY_DATA names the folder.
_base_ = './harmoclip_vitb16_coco.py'
data_root = '{{$MY_DATA:data/mine/}}'
images = dict(img='images/')
train_file = 'train.jsonl'  # ODVG lines, see the README
test_file = 'test.json'  # boxes in COCO's format
# Of the test boxes, in the order of the categories in test.json. It is the
# only place that names them: prompts and labels follow.
classes = ('dog', 'red car')
batch_size = 32  # at most as many as there are lines
max_epochs, warm_up = 10, 100  # steps of warm-up: fewer than the training has

train_dataloader = dict(
    batch_size=batch_size,
    dataset=dict(data_root=data_root, ann_file=train_file, data_prefix=images),
)
val_dataloader = dict(
    dataset=dict(
        data_root=data_root,
        ann_file=test_file,
        data_prefix=images,
        metainfo=dict(classes=classes),
        # without captions: neither LoadCaptions nor TokenizeRegionText
        pipeline=[*_base_.test_pipeline[:3], _base_.test_pipeline[-1]],
    )
)
test_dataloader = val_dataloader
model = dict(predictors=dict(retrieval=None))  # which reads captions
val_evaluator = [
    dict(type='BoxClassificationMetric'),
    dict(
        type='mmdet.CocoMetric',
        ann_file=data_root + '/' + test_file,
        metric='bbox',
    ),
]
test_evaluator = val_evaluator

train_cfg = dict(max_epochs=max_epochs)
param_scheduler = [
    dict(_base_.param_scheduler[0], end=warm_up),
    dict(_base_.param_scheduler[1], T_max=max_epochs, end=max_epochs),
]
# for --auto-scale-lr: the learning rate is that of 256 images
auto_scale_lr = dict(base_batch_size=256)
