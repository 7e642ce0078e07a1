# F-ViT on OpenAI's ViT-L/14 at 336 px, OV-LVIS.
# 8 GPUs x 8 images, 48 epochs.
_base_ = [
    '../_base_/models/ov_fvit_vitl14.py',
    '../_base_/methods/ov_lvis.py',
    '../_base_/datasets/lvis_ov_detection_896.py',
    '../_base_/schedules/fvit_48e.py',
    '../_base_/detection_runtime.py',
]
model = dict(
    _base_.lvis_model,
    data_preprocessor=dict(pad_mask=True),
    roi_head=dict(
        _base_.lvis_roi_head,
        beta=0.4,
        mask_roi_extractor=dict(
            _base_.lvis_roi_head.mask_roi_extractor,
            featmap_strides=_base_.strides[:4],
        ),
    ),
)
