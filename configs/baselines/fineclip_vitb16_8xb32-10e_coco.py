# FineCLIP, ViT-B/16, COCO 2017, 8 GPUs x 32 images, 10 epochs.
# FineCLIP starts from EVA02_CLIP_B_psz16_s8B: --cfg-options clip=EVA02-B-16.
_base_ = [
    '../_base_/methods/fineclip.py',
    '../_base_/datasets/coco_region_text.py',
    '../_base_/schedules/adamw_10e.py',
    '../_base_/default_runtime.py',
]
