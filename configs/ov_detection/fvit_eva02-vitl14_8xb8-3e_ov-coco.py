# F-ViT on EVA-02-CLIP L/14, OV-COCO.
# 8 GPUs x 8 images, 3 epochs.
_base_ = [
    '../_base_/models/ov_fvit_eva02_vitl14.py',
    '../_base_/datasets/coco_ov_detection_896.py',
    '../_base_/schedules/fvit_3e.py',
    '../_base_/detection_runtime.py',
]
