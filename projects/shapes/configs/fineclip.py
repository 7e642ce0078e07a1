# FineCLIP on shapes, for a CPU. The text tower is frozen: start from a
# trained CLIP (load_from), or train all by --cfg-options model.frozen=[].
_base_ = ['./_base_/tiny.py', '../../../configs/_base_/methods/fineclip.py']
model = dict(
    heads=_base_.heads,
    crop_extractor=_base_.crop_extractor,
    frozen=_base_.frozen,
)
