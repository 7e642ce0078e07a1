# FG-CLIP's hard negatives on shapes, for a CPU: a word of a phrase is
# exchanged, never for one that makes a held-out combination.
_base_ = [
    './_base_/tiny.py',
    './_base_/words.py',
    '../../../configs/_base_/methods/fgclip.py',
]
clip = dict(_delete_=True, **_base_.tiny_clip)
model = dict(predictors=_base_.predictors)
train_pipeline = [
    *_base_.train_pipeline[:-2],
    dict(
        type='ExchangeWords',
        words=_base_.words,
        forbidden=_base_.classes['novel_classes'],
    ),
    dict(type='TokenizeRegionText', clip=None, negatives=10),
    _base_.train_pipeline[-1],
]
train_dataloader = dict(dataset=dict(pipeline=train_pipeline))
