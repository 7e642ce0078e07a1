# FineCLIP on shapes, for a CPU. The text tower is frozen: start from a
# trained CLIP (load_from), or train all by --cfg-options model.frozen=[].
_base_ = [
    '../_base_/models/clip_tiny.py',
    '../_base_/methods/fineclip.py',
    '../_base_/datasets/shapes_region_text.py',
    '../_base_/schedules/adamw_tiny.py',
    '../_base_/runtime_exact.py',
]
model = dict(
    heads=_base_.heads,
    crop_extractor=_base_.crop_extractor,
    frozen=_base_.frozen,
    predictors=dict(boxes=dict(classifier=dict(templates=['a {}']))),
)
