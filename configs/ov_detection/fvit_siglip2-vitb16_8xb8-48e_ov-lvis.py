# F-ViT on SigLIP 2 B/16, OV-LVIS.
# 8 GPUs x 8 images, 48 epochs.
_base_ = [
    '../_base_/models/ov_fvit_siglip2_vitb16.py',
    '../_base_/methods/ov_lvis.py',
    '../_base_/datasets/lvis_ov_detection.py',
    '../_base_/schedules/fvit_48e.py',
    '../_base_/detection_runtime.py',
]
model = _base_.lvis_model
