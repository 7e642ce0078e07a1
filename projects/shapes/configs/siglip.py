# GC and LRC by SigLIP's loss, from scratch on shapes, for a CPU.
_base_ = ['./_base_/tiny.py', '../../../configs/_base_/methods/siglip.py']
clip = dict(_delete_=True, **_base_.tiny_clip)
model = dict(predictors=_base_.predictors)
