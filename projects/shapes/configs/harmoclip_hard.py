# HarmoCLIP and hard negatives on shapes, from a trained CLIP.
_base_ = ['./harmoclip_finetune.py', './_base_/words.py']
model = dict(
    heads=dict(hard=dict(type='HardNegativeHead', loss=dict(loss_weight=0.5)))
)
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
