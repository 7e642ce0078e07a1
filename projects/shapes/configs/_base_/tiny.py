# A tiny CLIP on shapes, trained in minutes by a CPU; a method hangs its heads
# on the model.
_base_ = [
    '../../../../configs/_base_/models/clip_tiny.py',
    './region_text.py',
    './schedule.py',
    '../../../../configs/_base_/runtime_exact.py',
]
model = dict(predictors=dict(boxes=dict(classifier=dict(templates=['a {}']))))
