# CLIM, ViT-B/16 of OpenAI, COCO 2017, 8 GPUs x 32 images, 10 epochs: captions
# without boxes. Each image of a mosaic is decoded: more workers than others.
_base_ = [
    '../_base_/methods/clim.py',
    '../_base_/datasets/coco_region_text.py',
    '../_base_/schedules/adamw_10e.py',
    '../_base_/default_runtime.py',
]
clip = 'ViT-B-16-quickgelu'
captioned = dict(
    _base_.train_dataloader.dataset,
    pipeline=[dict(type='LoadCheckedImage')],
)
train_dataloader = dict(
    num_workers=12,
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
