# HarmoCLIP from scratch on shapes, for a CPU.
_base_ = [
    './_base_/models/clip_tiny.py',
    './_base_/methods/harmoclip_scratch.py',
    './_base_/datasets/shapes_region_text.py',
    './_base_/schedules/adamw_tiny.py',
    './_base_/runtime_exact.py',
]
model = dict(
    heads=_base_.heads,
    predictors=dict(boxes=dict(classifier=dict(templates=['a {}']))),
)
