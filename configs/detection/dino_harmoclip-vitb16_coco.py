# DINO on CLIP's ViT-B/16, fine-tuned as
# ViTDet does; everything else is mmdet's. Not yet trained: a start to copy.
# CLIP_CHECKPOINT names the CLIP, COCO_ROOT the folder of COCO.
_base_ = [
    'mmdet::dino/dino-4scale_r50_8xb2-12e_coco.py',
    '../_base_/detection/vitb16.py',
]
model = dict(
    data_preprocessor={{_base_.clip_preprocessor}},
    backbone={{_base_.clip_backbone}},
    # strides 8 to 64: the last level is subsampled
    neck=dict(
        _delete_=True,
        type='harmoclip_mm.SimpleFeaturePyramid',
        in_channels=768,
        scale_factors=(2, 1, 0.5),
        num_outs=4,
    ),
)
optim_wrapper = dict(
    _delete_=True,
    type='OptimWrapper',
    constructor='harmoclip_mm.LearningRateDecayOptimWrapperConstructor',
    optimizer={{_base_.vit_optimizer}},
    paramwise_cfg={{_base_.vit_paramwise_cfg}},
    clip_grad=dict(max_norm=0.1, norm_type=2),  # DINO's own
)
train_dataloader = dict(dataset=dict(data_root={{_base_.coco_root}}))
val_dataloader = dict(dataset=dict(data_root={{_base_.coco_root}}))
test_dataloader = val_dataloader
val_evaluator = dict(ann_file={{_base_.coco_val_ann}})
test_evaluator = val_evaluator
