_base_ = './clip_vitl14.py'
# CLIP ViT-L/14 of OpenAI at 336 px: 427.9 M parameters.
model = dict(backbone=dict(img_size=336))
