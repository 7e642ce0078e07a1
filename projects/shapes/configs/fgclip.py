# FG-CLIP's hard negatives on shapes, for a CPU.
_base_ = [
    './_base_/hard_negatives.py',
    '../../../configs/_base_/methods/fgclip.py',
]
clip = dict(_delete_=True, **_base_.tiny_clip)
model = dict(predictors=_base_.predictors)
