# Tiny HarmoCLIP learns a few dozen photos by heart, in minutes on a CPU: the
# whole way from COCO files to a metric, and nothing about unseen photos.
# COCO_ROOT is a folder of few photos in COCO's layout; phrases are made by
# to_odvg.py coco-captions --name-unlinked-boxes, so that all boxes train.
_base_ = [
    './_base_/methods/harmoclip_scratch.py',
    './_base_/models/tiny_clip.py',
    './_base_/datasets/coco_region_text.py',
    './_base_/schedules/adamw_10e.py',
    './_base_/default_runtime.py',
]
max_iters = 300
# 14 x 14 cells: in the base's grid too many boxes share one.
clip = dict(_delete_=True, **_base_.tiny_clip)
clip['vision_cfg'].update(image_size=224, patch_size=16)

train_dataloader = dict(
    batch_size=27,
    num_workers=2,
    sampler=dict(_delete_=True, type='InfiniteSampler', shuffle=True),
)
val_dataloader = dict(
    batch_size=27,
    num_workers=2,
    dataset=dict(
        ann_file='annotations/instances_train2017.json',
        data_prefix=dict(img='train2017/'),
        pipeline=[
            *_base_.test_pipeline[:3],
            dict(
                type='LoadCaptions',
                ann_file=_base_.data_root
                + '/annotations/captions_train2017.json',
                max_captions=5,
            ),
            *_base_.test_pipeline[4:],
        ],
    ),
)
test_dataloader = val_dataloader
val_evaluator = test_evaluator = _base_.val_evaluator[:2]  # no COCO AP

train_cfg = dict(
    _delete_=True,
    type='IterBasedTrainLoop',
    max_iters=max_iters,
    val_interval=max_iters,
)
optim_wrapper = dict(optimizer=dict(lr=1e-3))
needs_weights = False
param_scheduler = [
    dict(type='LinearLR', start_factor=0.01, by_epoch=False, end=20),
    dict(type='CosineAnnealingLR', T_max=max_iters, by_epoch=False),
]
auto_scale_lr = dict(base_batch_size=27)
log_processor = dict(by_epoch=False)
default_hooks = dict(
    logger=dict(interval=10),
    checkpoint=dict(by_epoch=False, interval=max_iters),
)
