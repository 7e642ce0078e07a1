# HarmoCLIP, SigLIP 2 B/16, COCO 2017, 8 GPUs x 32 images, 10 epochs.
_base_ = [
    './_base_/methods/harmoclip.py',
    './_base_/datasets/coco_region_text.py',
    './_base_/schedules/adamw_10e.py',
    './_base_/default_runtime.py',
]
clip = 'ViT-B-16-SigLIP2'
# A scale and bias of their own would start at an untrained SigLIP's.
model = dict(
    heads=dict(lrc=dict(temperature='shared'), gr=dict(temperature='shared'))
)
