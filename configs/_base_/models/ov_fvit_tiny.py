_base_ = ['./ov_fvit_vitb16.py', './tiny_clip.py']
# F-ViT on the tiny CLIP, for a CPU: patches of 10 px, a pyramid of strides 5,
# 10 and 20.
clip = dict(_delete_=True, **_base_.tiny_clip)
weights = '{{$CLIP_CHECKPOINT:work_dirs/harmoclip_tiny_photos/iter_300.pth}}'
conv_norm = dict(type='GN', num_groups=8)
strides = [5, 10, 20]
model = dict(
    data_preprocessor=dict(clip=dict(**clip), pad_size_divisor=10),
    init_cfg=dict(checkpoint=weights),
    backbone=dict(clip=dict(**clip), out_indices=(1, 2, 3)),
    text_encoder=dict(clip=dict(**clip)),
    neck=dict(
        in_channels=128,
        out_channels=64,
        scale_factors=(2, 1, 0.5),
        num_outs=3,
        norm_cfg=dict(_delete_=True, **conv_norm),
    ),
    rpn_head=dict(
        in_channels=64,
        feat_channels=64,
        num_convs=1,
        anchor_generator=dict(strides=strides, scales=[4, 6]),
    ),
    roi_head=dict(
        bbox_roi_extractor=dict(
            out_channels=64,
            featmap_strides=strides,
            # boxes below 60 px from the finest level
            finest_scale=30,
        ),
        bbox_head=dict(
            in_channels=64,
            num_shared_convs=0,
            fc_out_channels=256,
            norm_cfg=None,
        ),
    ),
    train_cfg=dict(
        rpn=dict(sampler=dict(num=64)),
        rpn_proposal=dict(nms_pre=300, max_per_img=100),
        rcnn=dict(sampler=dict(num=64)),
    ),
    test_cfg=dict(rpn=dict(nms_pre=300, max_per_img=100)),
)
