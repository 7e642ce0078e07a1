# F-VLM on ConvNeXt-Large at 320 px, OV-LVIS.
# 8 GPUs x 8 images, 48 epochs.
_base_ = [
    '../_base_/models/ov_fvit_convnext_large.py',
    '../_base_/methods/ov_lvis.py',
    '../_base_/datasets/lvis_ov_detection.py',
    '../_base_/schedules/fvit_48e.py',
    '../_base_/detection_runtime.py',
]
model = dict(
    # the square that the largest image fills
    data_preprocessor=dict(pad_size_divisor=1024, pad_mask=True),
    roi_head=_base_.lvis_roi_head,
    train_cfg=_base_.lvis_train_cfg,
    test_cfg=_base_.lvis_test_cfg,
)
