# F-ViT on OpenAI's ViT-B/16, OV-COCO.
# 8 GPUs x 8 images, 3 epochs.
_base_ = [
    '../_base_/models/ov_fvit_vitb16.py',
    '../_base_/datasets/coco_ov_detection.py',
    '../_base_/schedules/fvit_3e.py',
    '../_base_/detection_runtime.py',
]
