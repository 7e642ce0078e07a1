# SFF-CLIP's weights of links on shapes, for a CPU. The start tells how well a
# phrase fits its region: give it one, by load_from.
_base_ = ['./_base_/tiny.py', '../../../configs/_base_/methods/sffclip.py']
clip = dict(_delete_=True, **_base_.tiny_clip)
model = dict(predictors=_base_.predictors)
