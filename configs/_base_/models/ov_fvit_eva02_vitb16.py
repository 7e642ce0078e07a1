_base_ = './ov_fvit_vitb16.py'
# F-ViT on EVA-02-CLIP B/16, the tower of its published figures.
model = dict(
    init_cfg=dict(checkpoint='{{$CLIP_CHECKPOINT:EVA02_CLIP_B_psz16_s8B.pt}}'),
    backbone=dict(type='harmoclip_mm.HarmoCLIPEVA02'),
    # The exact GELU: EVA-CLIP's text towers are not OpenAI's.
    text_encoder=dict(act_cfg=dict(type='GELU')),
)
