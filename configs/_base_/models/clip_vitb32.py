_base_ = './clip_vitb16.py'
# CLIP ViT-B/32 of OpenAI (arXiv 2103.00020, table 20): 151.3 M parameters.
model = dict(backbone=dict(patch_size=32))
