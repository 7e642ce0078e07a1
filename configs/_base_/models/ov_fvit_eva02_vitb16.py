_base_ = './ov_fvit_vitb16.py'
# F-ViT on EVA-02-CLIP B/16, the tower of its published figures.
clip = 'EVA02-B-16'
model = dict(
    data_preprocessor=dict(clip=clip),
    init_cfg=dict(checkpoint='{{$CLIP_CHECKPOINT:EVA02_CLIP_B_psz16_s8B.pt}}'),
    backbone=dict(clip=clip),
    text_encoder=dict(clip=clip),
)
