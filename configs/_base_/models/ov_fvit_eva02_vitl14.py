_base_ = './ov_fvit_vitl14.py'
# F-ViT on EVA-02-CLIP L/14 at 336 px.
model = dict(
    init_cfg=dict(
        checkpoint='{{$CLIP_CHECKPOINT:EVA02_CLIP_L_336_psz14_s6B.pt}}'
    ),
    backbone=dict(type='harmoclip_mm.HarmoCLIPEVA02'),
    # The exact GELU: EVA-CLIP's text towers are not OpenAI's.
    text_encoder=dict(act_cfg=dict(type='GELU')),
)
