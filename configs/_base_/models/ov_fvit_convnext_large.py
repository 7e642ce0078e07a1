_base_ = './ov_fvit_vitb16.py'
# F-VLM (arXiv 2209.15639) on ConvNeXt-Large of LAION at 320 px: its stages are
# a pyramid of strides 4 to 32 already, and the dense map has stride 32.
clip = 'convnext_large_d_320'
model = dict(
    data_preprocessor=dict(clip=clip),
    init_cfg=dict(
        checkpoint='{{$CLIP_CHECKPOINT:convnext_large_d_320.safetensors}}'
    ),
    backbone=dict(clip=clip, out_indices=(0, 1, 2, 3)),
    text_encoder=dict(clip=clip),
    neck=dict(
        _delete_=True,
        type='FPN',
        in_channels=[192, 384, 768, 1536],
        out_channels=256,
        num_outs=5,
        norm_cfg=_base_.conv_norm,
    ),
    roi_head=dict(bbox_head=dict(fc_out_channels=768)),
)
