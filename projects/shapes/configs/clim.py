# CLIM on shapes, for a CPU: captions alone, mosaics of their images.
_base_ = ['./_base_/tiny.py', '../../../configs/_base_/methods/clim.py']
clip = dict(_delete_=True, **_base_.tiny_clip)
model = dict(predictors=_base_.predictors)
captioned = dict(
    _base_.train_dataloader.dataset, pipeline=[dict(type='LoadCheckedImage')]
)
train_dataloader = dict(
    dataset=dict(
        _delete_=True,
        type='SeededDataset',
        dataset=dict(
            type='mmdet.MultiImageMixDataset',
            dataset=captioned,
            pipeline=_base_.mosaic_pipeline,
        ),
    ),
)
