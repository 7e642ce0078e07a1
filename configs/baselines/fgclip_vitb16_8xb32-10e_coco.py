# FG-CLIP's region stage, ViT-B/16, COCO 2017, 8 GPUs x 32 images, 10 epochs.
_base_ = [
    '../_base_/methods/fgclip.py',
    '../_base_/datasets/coco_hard_negatives.py',
    '../_base_/schedules/adamw_10e.py',
    '../_base_/default_runtime.py',
]
clip = 'ViT-B-16-quickgelu'
