# FineCLIP on shapes, for a CPU. The text tower is frozen: start from a
# trained CLIP (load_from), or train all by --cfg-options model.frozen=[].
_base_ = ['./_base_/tiny.py', '../../../configs/_base_/methods/fineclip.py']
clip = dict(_delete_=True, **_base_.tiny_clip)
model = dict(predictors=_base_.predictors)
