# Mask R-CNN on CLIP's ViT-B/16, fine-tuned as ViTDet does. All else is
# mmdet's. Not yet trained: a start to copy.
# CLIP_CHECKPOINT names the CLIP, COCO_ROOT the folder of COCO.
_base_ = [
    'mmdet::mask_rcnn/mask-rcnn_r50_fpn_1x_coco.py',
    '../_base_/detection/vitb16.py',
]
model = dict(
    data_preprocessor={{_base_.clip_preprocessor}},
    backbone={{_base_.clip_backbone}},
    # strides 4 to 64: the last level is subsampled
    neck=dict(
        _delete_=True,
        type='harmoclip_mm.SimpleFeaturePyramid',
        in_channels=768,
        scale_factors=(4, 2, 1, 0.5),
        num_outs=5,
    ),
)
optim_wrapper = {{_base_.vit_optim_wrapper}}
train_dataloader = {{_base_.coco_loader}}
val_dataloader = {{_base_.coco_loader}}
test_dataloader = {{_base_.coco_loader}}
val_evaluator = {{_base_.coco_metric}}
test_evaluator = {{_base_.coco_metric}}
