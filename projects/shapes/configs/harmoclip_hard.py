# HarmoCLIP and hard negatives on shapes, from a trained CLIP.
_base_ = [
    './_base_/hard_negatives.py',
    '../../../configs/_base_/methods/harmoclip_hard.py',
]
clip = dict(_delete_=True, **_base_.tiny_clip)
model = dict(predictors=_base_.predictors)
