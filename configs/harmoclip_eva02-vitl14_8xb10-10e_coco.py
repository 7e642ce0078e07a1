# HarmoCLIP, EVA-02-CLIP L/14 at 336 px, COCO 2017, 8 GPUs x 10 images,
# 10 epochs.
_base_ = [
    './_base_/methods/harmoclip.py',
    './_base_/datasets/coco_region_text.py',
    './_base_/schedules/adamw_10e.py',
    './_base_/default_runtime.py',
]
clip = 'EVA02-L-14-336'
train_dataloader = dict(batch_size=10)
# 8 x 10 = 80; 118287 / 80 = 1478 iterations an epoch
auto_scale_lr = dict(base_batch_size=80)
