_base_ = './ov_fvit_vitb16.py'
# F-ViT on SigLIP 2 B/16.
clip = 'ViT-B-16-SigLIP2'
model = dict(
    data_preprocessor=dict(clip=clip),
    init_cfg=dict(
        checkpoint='{{$CLIP_CHECKPOINT:ViT-B-16-SigLIP2.safetensors}}'
    ),
    backbone=dict(clip=clip),
    text_encoder=dict(clip=clip),
    roi_head=dict(bbox_head=dict(fc_out_channels=768)),
)
