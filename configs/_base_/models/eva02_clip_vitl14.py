_base_ = './eva02_clip_vitb16.py'
# EVA-02-CLIP L/14 at 336 px (arXiv 2303.15389, table 3): 428 M parameters.
model = dict(
    backbone=dict(arch='large', img_size=336, patch_size=14, out_dims=768),
    text_encoder=dict(embed_dims=768, num_heads=12, out_dims=768),
)
