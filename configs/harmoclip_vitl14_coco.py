# HarmoCLIP, ViT-L/14 of OpenAI, COCO 2017, 8 GPUs x 10 images, 10 epochs.
_base_ = [
    './_base_/methods/harmoclip.py',
    './_base_/datasets/coco_region_text.py',
    './_base_/schedules/adamw_10e.py',
    './_base_/default_runtime.py',
]
clip = 'ViT-L-14-quickgelu'
train_dataloader = dict(batch_size=10)
# 8 x 10 = 80; 118287 / 80 = 1478 iterations an epoch
auto_scale_lr = dict(base_batch_size=80)
