# A tiny CLIP on shapes, trained in minutes by a CPU. A config joins it with a
# method, and takes `tiny_clip` and `predictors` of here.
_base_ = [
    '../../../../configs/_base_/models/tiny_clip.py',
    './region_text.py',
    './schedule.py',
    '../../../../configs/_base_/runtime_exact.py',
]
predictors = dict(boxes=dict(classifier=dict(templates=['a {}'])))
