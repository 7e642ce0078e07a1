_base_ = './ov_fvit_vitl14.py'
# F-ViT on EVA-02-CLIP L/14 at 336 px.
clip = 'EVA02-L-14-336'
model = dict(
    data_preprocessor=dict(clip=clip),
    init_cfg=dict(
        checkpoint='{{$CLIP_CHECKPOINT:EVA02_CLIP_L_336_psz14_s6B.pt}}'
    ),
    backbone=dict(clip=clip),
    text_encoder=dict(clip=clip),
)
