_base_ = './clip_vitb16.py'
# CLIP ViT-H/14 of LAION (open_clip, ViT-H-14.json): 986.1 M parameters. Its
# activation is the exact GELU.
model = dict(
    backbone=dict(
        arch='huge',
        patch_size=14,
        out_dims=1024,
        act_cfg=dict(type='GELU'),
    ),
    text_encoder=dict(
        embed_dims=1024,
        num_layers=24,
        num_heads=16,
        out_dims=1024,
        act_cfg=dict(type='GELU'),
    ),
)
