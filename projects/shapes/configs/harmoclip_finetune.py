# HarmoCLIP on shapes, from a trained CLIP: load_from names it.
_base_ = [
    './_base_/tiny.py',
    '../../../configs/_base_/methods/harmoclip.py',
]
clip = dict(_delete_=True, **_base_.tiny_clip)
model = dict(predictors=_base_.predictors)
