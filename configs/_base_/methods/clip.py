# Contrastive fine-tuning on whole images, the control of all comparisons.
# A config hangs them on its model by `model = dict(heads=_base_.heads)`:
# mmengine lets only one base say `model`, and the base of the towers does.
heads = dict(gc=dict(type='GlobalContrastiveHead'))
