_base_ = './ov_fvit_vitb16.py'
# F-ViT on OpenAI's ViT-L/14 at 336 px: blocks and strides of F-ViT's configs.
clip = 'ViT-L-14-336-quickgelu'
strides = [3.5, 7, 14, 28, 56]
model = dict(
    data_preprocessor=dict(clip=clip, pad_size_divisor=896),
    init_cfg=dict(checkpoint='{{$CLIP_CHECKPOINT:ViT-L-14-336px.pt}}'),
    backbone=dict(clip=clip, out_indices=(6, 10, 14, 23)),
    text_encoder=dict(clip=clip),
    neck=dict(in_channels=1024),
    rpn_head=dict(anchor_generator=dict(strides=strides)),
    roi_head=dict(
        bbox_roi_extractor=dict(featmap_strides=strides[:4]),
        bbox_head=dict(fc_out_channels=768),
    ),
)
