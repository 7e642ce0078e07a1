_base_ = './clip_vitb16.py'
# CLIP ViT-L/14 of OpenAI (arXiv 2103.00020, table 20): 427.6 M parameters.
model = dict(
    backbone=dict(arch='large', patch_size=14, out_dims=768),
    text_encoder=dict(embed_dims=768, num_heads=12, out_dims=768),
)
