# F-ViT on OpenAI's ViT-L/14 at 336 px, OV-COCO.
# 8 GPUs x 8 images, 3 epochs.
_base_ = [
    '../_base_/models/ov_fvit_vitl14.py',
    '../_base_/datasets/coco_ov_detection_896.py',
    '../_base_/schedules/fvit_3e.py',
    '../_base_/detection_runtime.py',
]
