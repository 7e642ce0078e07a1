_base_ = '../models/clip.py'
# Contrastive fine-tuning on whole images, the control of all comparisons.
model = dict(heads=dict(gc=dict(type='GlobalContrastiveHead')))
