# Contrastive fine-tuning on whole images, the control of all comparisons.
# A config takes it as model = dict(heads={{_base_.heads}}).
heads = dict(gc=dict(type='GlobalContrastiveHead'))
