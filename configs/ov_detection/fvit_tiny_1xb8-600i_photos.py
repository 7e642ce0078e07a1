# Open-vocabulary detection on a few dozen photos with a frozen tiny CLIP, in
# minutes on a CPU: the whole way from COCO files to base and novel AP, and
# nothing about unseen photos. COCO_ROOT is a folder of few photos;
# CLIP_CHECKPOINT is what configs/harmoclip_tiny_photos.py made of them.
_base_ = [
    '../_base_/models/ov_fvit_tiny.py',
    '../_base_/datasets/photos_ov_detection.py',
    '../_base_/schedules/fvit_tiny.py',
    '../_base_/detection_runtime.py',
]
weights = '{{$CLIP_CHECKPOINT:work_dirs/harmoclip_tiny_photos/iter_300.pth}}'
clip = dict(vision_cfg=dict(image_size=224, patch_size=16))
strides = [8, 16, 32]
model = dict(
    data_preprocessor=dict(clip=clip, pad_size_divisor=320),
    init_cfg=dict(checkpoint=weights),
    backbone=dict(clip=clip),
    text_encoder=dict(clip=clip),
    rpn_head=dict(anchor_generator=dict(strides=strides)),
    roi_head=dict(
        bbox_roi_extractor=dict(featmap_strides=strides, finest_scale=56),
        bbox_head=dict(templates='openai80'),
    ),
)
default_hooks = dict(
    logger=dict(interval=10),
    checkpoint=dict(by_epoch=False, interval=_base_.max_iters),
)
log_processor = dict(by_epoch=False)
# 54 photos / 8 = 7 iterations an epoch, 600 are 86 epochs
auto_scale_lr = dict(base_batch_size=8)
